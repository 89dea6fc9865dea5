// Package kallsyms reads the symbol table that the kernel keeps of itself for
// its messages, out of the kernel's memory. It needs no debug information.
//
// The table is what scripts/kallsyms.c writes and kernel/kallsyms.c reads: names
// whose bytes stand for tokens of a table of 256, in the order of addresses,
// and the addresses apart from them. Since 6.0 VMCOREINFO says where the parts
// are; in older kernels they are found by their shape.
package kallsyms

import (
	"errors"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// ErrNotFound: the kernel's memory has no such table, as that of a kernel that
// was built without CONFIG_KALLSYMS.
var ErrNotFound = errors.New("no kallsyms table in the kernel's memory")

// ErrDamaged: the table is there and contradicts itself.
var ErrDamaged = errors.New("kallsyms table damaged")

// Memory is kernel virtual memory; *kernel.Memory is one.
type Memory interface {
	// Read fills buf with the memory at a virtual address, and returns how
	// many bytes could be had and why not all.
	Read(buf []byte, virt uint64) (int, error)
}

// Read returns the kernel's symbols by ascending address, with link addresses
// (before KASLR): those of the kernel image less mem.Offset(), per-CPU offsets
// and other absolute ones as they are. The size of a symbol is the distance to
// the next one, as in the kernel's own messages. Kernels without
// CONFIG_KALLSYMS_ALL have functions only. The table is that of
// kernel/kallsyms.c. The error wraps ErrNotFound or ErrDamaged.
func Read(mem *kernel.Memory) ([]debuginfo.Symbol, error) {
	list, err := read(mem, mem.Image().Facts().VMCoreInfo)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Addr >= lowest {
			list[i].Addr -= mem.Offset()
		}
	}
	return list, nil
}

// lowest divides kernel addresses from absolute symbols: offsets in per-CPU
// areas.
const lowest = 1 << 63

// read returns the symbols with runtime addresses.
func read(mem Memory, info *dump.VMCoreInfo) ([]debuginfo.Symbol, error) {
	t, err := locate(mem, info)
	if err != nil {
		return nil, err
	}
	list, err := t.names()
	if err != nil {
		return nil, err
	}
	stext, _ := info.Symbol("_stext")
	if err := t.addresses(mem, list, stext); err != nil {
		return nil, err
	}
	finish(list)
	return list, nil
}

// finish orders the symbols and gives them sizes.
func finish(list []debuginfo.Symbol) {
	slices.SortStableFunc(list, func(a, b debuginfo.Symbol) int {
		switch {
		case a.Addr < b.Addr:
			return -1
		case a.Addr > b.Addr:
			return 1
		}
		return 0
	})
	for end := len(list); end > 0; {
		start := end - 1
		for start > 0 && list[start-1].Addr == list[end-1].Addr {
			start--
		}
		same := list[start:end]
		if end < len(list) && (same[0].Addr < lowest) == (list[end].Addr < lowest) {
			resize(same, list[end].Addr-same[0].Addr)
		}
		// The kernel names an address by the first of several symbols,
		// debuginfo.Symbols by the last of equally good ones.
		slices.Reverse(same)
		end = start
	}
}

// resize sets the size of the symbols at one address. Of several, those that
// only mark the end of something before have none of it.
func resize(same []debuginfo.Symbol, size uint64) {
	for i := range same {
		if len(same) == 1 || !debuginfo.IsMark(same[i].Name) {
			same[i].Size = size
		}
	}
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}
