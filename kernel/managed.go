package kernel

import "fmt"

// Managed is how many bytes the page allocator manages: the memory of the machine
// without what the kernel image and boot took (totalram_pages, _totalram_pages
// since 5.0). It is MemTotal of /proc/meminfo. The error wraps ErrNotFound where
// there is no such variable, or is a *ReadError.
func (k *Kernel) Managed() (uint64, error) {
	for _, name := range []string{"_totalram_pages", "totalram_pages"} {
		if addr, err := k.Symbol(name); err == nil {
			n, err := k.Uint64(addr)
			return n * k.PageSize(), err
		}
	}
	return 0, fmt.Errorf("symbol totalram_pages: %w", ErrNotFound)
}
