package census

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/vfs"
)

// openSlabs finds the slab allocator.
func openSlabs(k *kernel.Kernel) (*slab.Allocations, error) {
	pages, err := page.Open(k)
	if err != nil {
		return nil, err
	}
	return slab.Open(k, pages)
}

// dentryCaches are the caches that dentries lie in: the one of the super_blocks' roots,
// whatever its name, and its copies for memory cgroups, which kernels had until 5.8.
func dentryCaches(fs *vfs.FS, supers superList) (*slab.Allocations, []*slab.Cache, error) {
	slabs, err := openSlabs(fs.Kernel())
	if err != nil {
		return nil, nil, err
	}
	var failed error
	for _, sb := range supers.all {
		if sb.Root == 0 {
			continue
		}
		o, ok, err := slabs.ObjectAt(sb.Root)
		switch {
		case err != nil:
			failed = err
		case ok && o.Offset == 0 && o.Slab.Cache.Size >= fs.DentrySpan():
			return slabs, withCopies(slabs, o.Slab.Cache), nil
		}
	}
	if failed != nil {
		return nil, nil, fmt.Errorf("%w: %w", errNoDentry, failed)
	}
	return nil, nil, errNoDentry
}

// withCopies are a cache and those of memory cgroups that were made after it.
func withCopies(slabs *slab.Allocations, c *slab.Cache) []*slab.Cache {
	base, _, _ := strings.Cut(c.Name, "(")
	list := []*slab.Cache{c}
	for _, other := range slabs.Caches() {
		name, _, copied := strings.Cut(other.Name, "(")
		if other != c && other.Size == c.Size && name == base && (copied || strings.Contains(c.Name, "(")) {
			list = append(list, other)
		}
	}
	return list
}

// memory is how much memory the machine has, in bytes.
func memory(k *kernel.Kernel) uint64 {
	for _, name := range []string{"_totalram_pages", "totalram_pages"} { // since 5.0, and before
		if at, err := k.Symbol(name); err == nil {
			if n, err := k.Uint64(at); err == nil && n > 0 && n < 1<<40 {
				return n * k.PageSize()
			}
		}
	}
	return k.Image().Facts().MaxPhys
}
