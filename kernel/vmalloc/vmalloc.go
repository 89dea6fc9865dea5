// Package vmalloc reads the kernel's virtually contiguous areas: what vmalloc, ioremap
// and the stacks of tasks took (struct vmap_area, struct vm_struct,
// include/linux/vmalloc.h, mm/vmalloc.c).
package vmalloc

import (
	"fmt"
	"iter"
	"sort"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
)

// Reader knows the layouts.
type Reader struct {
	k    *kernel.Kernel
	area areaLayout
	vm   vmLayout
	node nodeLayout // since 6.9
}

// areaLayout is struct vmap_area. What it leads to was called private until 3.9. Since 5.4
// it is in a union with subtree_max_size, of areas that are free, and there were no flags
// until 6.4 made others.
type areaLayout struct {
	kernel.Layout `kernel:"struct vmap_area"`
	Start         kernel.U64    `kernel:"va_start"`
	End           kernel.U64    `kernel:"va_end"`
	List          kernel.Offset `kernel:"list"`
	VM            kernel.U64    `kernel:"vm|private"`
	FreeSize      kernel.Offset `kernel:"subtree_max_size,optional"`
	Flags         kernel.Uint   `kernel:"flags,optional"`
}

// hasVM tells whether an area has a vm_struct, where its flags say so: since 5.4 the pointer
// is NULL otherwise.
func (l *areaLayout) hasVM(b []byte) bool {
	if !l.Flags.Has() || l.FreeSize.Has() && l.FreeSize.Offset() == l.VM.Offset() {
		return true
	}
	return l.Flags.Get(b)&flagHasVM != 0
}

type vmLayout struct {
	kernel.Layout `kernel:"struct vm_struct"`
	Addr          kernel.U64  `kernel:"addr"`
	Size          kernel.U64  `kernel:"size"`
	Flags         kernel.U64  `kernel:"flags"`
	Pages         kernel.Uint `kernel:"nr_pages"`
	Phys          kernel.U64  `kernel:"phys_addr"`
	Caller        kernel.U64  `kernel:"caller"`
}

// nodeLayout is struct vmap_node: since 6.9 the areas are spread over several trees.
type nodeLayout struct {
	kernel.Layout `kernel:"struct vmap_node"`
	Busy          kernel.Offset `kernel:"busy.head"`
}

// Area is one area in use: struct vmap_area and vm_struct
// (include/linux/vmalloc.h).
type Area struct {
	Start, End uint64 // virtual addresses; End counts the guard page as well
	Size       uint64 // bytes, the guard page included; of a mere range (vm_map_ram) its length
	Pages      uint64 // pages of memory that belong to it, 0 for ioremap and the like
	Phys       uint64 // physical address that ioremap mapped
	Flags      uint64 // VM_ flags
	Caller     uint64 // address of the code that asked for it; 0 for a mere range
}

// Flags of an area (include/linux/vmalloc.h).
const (
	FlagIORemap = 1 << 0
	FlagAlloc   = 1 << 1
	FlagMap     = 1 << 2
)

const flagHasVM = 1 << 2 // VM_VM_AREA of vmap_area.flags, until 5.3

// Open resolves the layouts. They are those of struct vmap_area and vm_struct
// (include/linux/vmalloc.h), and since 6.9 vmap_node (mm/vmalloc.c). The error
// wraps kernel.ErrNotFound where the kernel lacks one of the first two.
func Open(k *kernel.Kernel) (*Reader, error) {
	r := &Reader{k: k}
	for _, l := range []any{&r.area, &r.vm} {
		if err := k.Resolve(l); err != nil {
			return nil, fmt.Errorf("vmalloc areas: %w", err)
		}
	}
	if k.HasSymbol("vmap_nodes") {
		if err := k.Resolve(&r.node); err != nil {
			return nil, fmt.Errorf("vmalloc areas: %w", err)
		}
	}
	return r, nil
}

const (
	maxAreas = 1 << 24
	maxNodes = 1 << 12
)

// Areas yields the areas in use: by address until 6.8, node by node since. An error
// is that of one area, or the end of a broken list.
func (r *Reader) Areas() iter.Seq2[Area, error] {
	return func(yield func(Area, error) bool) {
		heads, err := r.heads()
		if err != nil {
			yield(Area{}, err)
			return
		}
		for _, head := range heads {
			for link, err := range list.Circular(r.k, head, maxAreas) {
				var a Area
				if err == nil {
					a, err = r.read(link - r.area.List.Offset())
				}
				if !yield(a, err) {
					return
				}
			}
		}
	}
}

// heads are the lists of areas.
func (r *Reader) heads() ([]uint64, error) {
	if r.node.Size() == 0 {
		head, err := r.k.Symbol("vmap_area_list")
		return []uint64{head}, err
	}
	at, err := r.k.Symbol("vmap_nodes")
	if err == nil {
		at, err = r.k.Uint64(at)
	}
	if err != nil {
		return nil, err
	}
	count := uint32(1)
	if n, err := r.k.Symbol("nr_vmap_nodes"); err == nil {
		if count, err = r.k.Uint32(n); err != nil {
			return nil, err
		}
	}
	if count == 0 || count > maxNodes {
		return nil, fmt.Errorf("nr_vmap_nodes: %d cannot be", count)
	}
	var heads []uint64
	for i := range uint64(count) {
		heads = append(heads, at+i*uint64(r.node.Size())+r.node.Busy.Offset())
	}
	return heads, nil
}

func (r *Reader) read(addr uint64) (Area, error) {
	l := &r.area
	b, err := r.k.Peek(addr, make([]byte, l.Span()))
	if err != nil {
		return Area{}, fmt.Errorf("struct vmap_area at %#x: %w", addr, err)
	}
	a := Area{Start: l.Start.Get(b), End: l.End.Get(b)}
	if a.End <= a.Start {
		return a, fmt.Errorf("struct vmap_area at %#x: it would go from %#x to %#x", addr, a.Start, a.End)
	}
	a.Size = a.End - a.Start
	vm := l.VM.Get(b)
	if vm == 0 || !l.hasVM(b) {
		return a, nil
	}
	v := &r.vm
	if b, err = r.k.Peek(vm, make([]byte, v.Span())); err != nil {
		return a, fmt.Errorf("struct vm_struct at %#x: %w", vm, err)
	}
	if v.Addr.Get(b) != a.Start {
		return a, nil // being set up or freed
	}
	a.Size, a.Flags, a.Pages = v.Size.Get(b), v.Flags.Get(b), v.Pages.Get(b)
	a.Phys, a.Caller = v.Phys.Get(b), v.Caller.Get(b)
	return a, nil
}

// Find is the area that a virtual address lies in. Where some areas cannot be
// read, and none of the others has it, the error says so.
func (r *Reader) Find(addr uint64) (Area, bool, error) {
	var failed error
	for a, err := range r.Areas() {
		if err != nil {
			failed = err
			continue
		}
		if addr >= a.Start && addr < a.End {
			return a, true, nil
		}
	}
	return Area{}, false, failed
}

// Sorted are all areas by address, and the errors met.
func (r *Reader) Sorted() (areas []Area, errs []error) {
	for a, err := range r.Areas() {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		areas = append(areas, a)
	}
	sort.Slice(areas, func(i, j int) bool { return areas[i].Start < areas[j].Start })
	return areas, errs
}
