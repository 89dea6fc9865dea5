package slab

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"github.com/kmortem/mortem/kernel"
)

// Held is what processors and nodes keep of a cache apart from the slabs' own
// lists: the slabs that processors allocate from, and free objects in their sheaves
// (SLUB since 6.18) or arrays (SLAB).
type Held struct {
	CPUs []CPUHeld
	// Nodes has, by number of the node, how many free objects lie in its full
	// sheaves, or in its shared and alien arrays.
	Nodes []int
	// Errors are those of what could not be read: the objects behind them count
	// as live.
	Errors []error

	active []active // ascending by slab
	free   []uint64 // virtual addresses of free objects, ascending
}

// CPUHeld is what one processor keeps of a cache.
type CPUHeld struct {
	CPU     int
	Slab    uint64 // address of the struct page of the slab it allocates from; 0 for none
	Partial int    // how many partly used slabs it has besides
	Free    int    // free objects: in its sheaves or its array; those of Slab not among them
	first   uint64 // the first free object of Slab
}

// active is a slab that a processor allocates from, and the processor's own list of
// its free objects.
type active struct {
	page, first uint64
}

// maxList bounds how many of a cache's slabs a processor's list may have, and how
// many sheaves a node.
const maxList = 1 << 20

// maxArray bounds the objects of one sheaf or array: they are allocated by kmalloc.
const maxArray = 1 << 16

// Held reads what processors and nodes keep of the cache, once.
func (c *Cache) Held() *Held {
	c.heldOnce.Do(func() {
		h := &Held{}
		if c.s.kind == SLAB {
			c.readArrays(h)
		} else {
			c.readCPUs(h)
			c.readSheaves(h)
		}
		slices.SortFunc(h.active, func(a, b active) int {
			if a.page < b.page {
				return -1
			}
			return 1
		})
		slices.Sort(h.free)
		h.free = slices.Compact(h.free)
		c.held = h
	})
	return c.held
}

func (h *Held) fail(format string, args ...any) {
	const maxErrors = 64
	if len(h.Errors) < maxErrors {
		h.Errors = append(h.Errors, fmt.Errorf(format, args...))
	}
}

// FreeOutside is how many free objects are in sheaves and arrays. They count as in
// use in their slabs.
func (h *Held) FreeOutside() int { return len(h.free) }

// readCPUs reads struct kmem_cache_cpu of each processor.
func (c *Cache) readCPUs(h *Held) {
	s := c.s
	l := &s.cpu
	if l.Name() == "" || !s.cache.CPU.Has() && !s.cache.CPUs.Has() {
		return
	}
	buf := make([]byte, l.Span())
	for _, cpu := range s.cpus {
		at, err := c.cpuAddr(cpu)
		if err == nil && at == 0 {
			continue
		}
		var b []byte
		if err == nil {
			b, err = s.k.Peek(at, buf)
		}
		if err != nil {
			h.fail("cache %s: CPU %d: %w", c.Name, cpu.CPU, err)
			continue
		}
		held := CPUHeld{CPU: cpu.CPU, Slab: l.Slab.Get(b), first: l.Freelist.Get(b)}
		if held.Slab != 0 {
			h.active = append(h.active, active{held.Slab, held.first})
		}
		if l.Partial.Has() {
			held.Partial, err = s.countPartial(l.Partial.Get(b))
			if err != nil {
				h.fail("cache %s: CPU %d: its partly used slabs: %w", c.Name, cpu.CPU, err)
			}
		}
		h.CPUs = append(h.CPUs, held)
	}
}

// cpuAddr is the address of a processor's struct kmem_cache_cpu.
func (c *Cache) cpuAddr(cpu kernel.CPUArea) (uint64, error) {
	if l := &c.s.cache; l.CPUs.Has() { // until 2.6.32
		return c.s.k.Uint64(c.Addr + l.CPUs.Offset() + 8*uint64(cpu.CPU))
	}
	p := c.s.cache.CPU.Get(c.raw)
	if p == 0 {
		return 0, nil
	}
	return p + cpu.Offset, nil
}

// countPartial goes over a processor's own list of partly used slabs.
func (s *Allocations) countPartial(at uint64) (int, error) {
	if !s.slab.Next.Has() {
		return 0, nil
	}
	n := 0
	for at != 0 {
		if _, ok := s.pages.PFN(at); !ok {
			return n, fmt.Errorf("%#x is no struct page: %w", at, ErrDamaged)
		}
		if n++; n > maxList {
			return n, fmt.Errorf("they are in a circle: %w", ErrDamaged)
		}
		next, err := s.k.Uint64(at + s.slab.Next.Offset())
		if err != nil {
			return n, err
		}
		if next == at {
			return n, fmt.Errorf("they are in a circle: %w", ErrDamaged)
		}
		at = next
	}
	return n, nil
}

// readSheaves reads the arrays of free objects that processors and nodes have since
// 6.18. Sheaves whose objects wait for a grace period of RCU are led to by nothing
// that could be found; their objects count as live.
func (c *Cache) readSheaves(h *Held) {
	s := c.s
	if !s.cache.Sheaves.Has() || s.sheaf.cpu.Name() == "" {
		return
	}
	if p := s.cache.Sheaves.Get(c.raw); p != 0 {
		for _, cpu := range s.cpus {
			n := c.readCPUSheaves(h, cpu, p)
			i := slices.IndexFunc(h.CPUs, func(o CPUHeld) bool { return o.CPU == cpu.CPU })
			if i < 0 {
				h.CPUs, i = append(h.CPUs, CPUHeld{CPU: cpu.CPU}), len(h.CPUs)
			}
			h.CPUs[i].Free = n
		}
	}
	for node := range max(len(c.nodeAddrs), len(c.barns)) {
		h.Nodes = append(h.Nodes, c.readBarn(h, node))
	}
}

func (c *Cache) readCPUSheaves(h *Held, cpu kernel.CPUArea, p uint64) int {
	l := &c.s.sheaf.cpu
	b, err := c.s.k.Peek(p+cpu.Offset, make([]byte, l.Span()))
	if err != nil {
		h.fail("cache %s: CPU %d: %w", c.Name, cpu.CPU, err)
		return 0
	}
	sheaves := []uint64{l.Main.Get(b), l.Spare.Get(b)}
	if l.RCUFree.Has() {
		sheaves = append(sheaves, l.RCUFree.Get(b))
	}
	n := 0
	for i, at := range sheaves {
		if at == 0 || slices.Contains(sheaves[:i], at) {
			continue
		}
		got, err := c.readSheaf(h, at)
		if n += got; err != nil {
			h.fail("cache %s: CPU %d: sheaf at %#x: %w", c.Name, cpu.CPU, at, err)
		}
	}
	return n
}

// readSheaf takes over the free objects of one sheaf.
func (c *Cache) readSheaf(h *Held, at uint64) (int, error) {
	l := &c.s.sheaf.one
	b, err := c.s.k.Peek(at, make([]byte, l.Span()))
	if err != nil {
		return 0, err
	}
	n := l.Size.Get(b)
	if cache := l.Cache.Get(b); n > maxArray || n != 0 && cache != c.Addr && cache != 0 {
		return 0, fmt.Errorf("%d objects of the cache at %#x: %w", n, cache, ErrDamaged)
	}
	return c.s.readPointers(h, at+l.Objects.Offset(), int(n))
}

func (s *Allocations) readPointers(h *Held, at uint64, n int) (int, error) {
	buf := make([]byte, 8*n)
	got, err := s.k.Read(buf, at)
	for i := range got / 8 {
		h.free = append(h.free, binary.LittleEndian.Uint64(buf[8*i:]))
	}
	return got / 8, err
}

// readBarn reads the full sheaves of a node, and returns how many objects they have.
func (c *Cache) readBarn(h *Held, node int) int {
	s := c.s
	barn := uint64(0)
	switch {
	case node < len(c.barns):
		barn = c.barns[node]
	case s.node.Barn.Has() && node < len(c.nodeAddrs) && c.nodeAddrs[node] != 0:
		var err error
		if barn, err = s.k.Uint64(c.nodeAddrs[node] + s.node.Barn.Offset()); err != nil {
			h.fail("cache %s: node %d: %w", c.Name, node, err)
		}
	}
	if barn == 0 {
		return 0
	}
	n := 0
	for link, err := range circular(s.k, barn+s.sheaf.barn.Full.Offset()) {
		if err != nil {
			h.fail("cache %s: node %d: its full sheaves: %w", c.Name, node, err)
			break
		}
		got, err := c.readSheaf(h, link-s.sheaf.one.Link.Offset())
		if n += got; err != nil {
			h.fail("cache %s: node %d: sheaf at %#x: %w", c.Name, node, link, err)
		}
	}
	return n
}

// addHeld marks the free objects of a slab that processors and nodes keep.
func (d *Decoder) addHeld(sl *Slab, mem []byte) error {
	h := sl.Cache.Held()
	i := sort.Search(len(h.active), func(i int) bool { return h.active[i].page >= sl.Page })
	var err error
	if i < len(h.active) && h.active[i].page == sl.Page {
		err = d.walk(sl, mem, h.active[i].first)
	}
	if len(h.free) == 0 {
		return err
	}
	end := sl.Object(sl.Objects)
	for i := sort.Search(len(h.free), func(i int) bool { return h.free[i] >= sl.First }); i < len(h.free) && h.free[i] < end; i++ {
		n, off, ok := sl.Index(h.free[i])
		if (!ok || off != 0 || !d.mark(n)) && err == nil {
			err = sl.damaged("a processor keeps %#x as a free object, which is none or is free in the slab", h.free[i])
		}
	}
	return err
}

// ActiveFree is how many free objects a processor has on the list of the slab it
// allocates from; they count as in use in that slab. Errors are those of SlabOf,
// or a *Error of the slab.
func (c *Cache) ActiveFree(cpu *CPUHeld) (int, error) {
	if cpu.Slab == 0 || cpu.first == 0 {
		return 0, nil
	}
	d := c.s.NewDecoder()
	sl, mem, err := d.read(cpu.Slab)
	if err != nil {
		return 0, err
	}
	d.reset(&sl)
	err = d.walk(&sl, mem, cpu.first)
	return d.Free, err
}
