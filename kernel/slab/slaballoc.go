package slab

import (
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// SLAB keeps for each slab the indexes of its free objects, at the slab's start or
// apart from it:
//   - until 3.12: a struct slab, behind which each object has the index of the next
//     free one.
//   - since 3.13: an array in which the entries from page.active on are the indexes
//     of the free objects.

// entryEnd ends the list of free objects until 3.12 (BUFCTL_END).
const entryEnd = 0xffffffff

// slabOld reads what is known of a slab of SLAB.
func (d *Decoder) slabOld(sl *Slab, raw []byte) error {
	l, c := &d.s.slab, sl.Cache
	sl.Objects = c.PerSlab
	if !d.s.old.hasDesc {
		if !l.Mem.Has() || !l.Active.Has() || !l.Freelist.Has() {
			return sl.damaged("nothing describes it")
		}
		sl.First, sl.InUse, sl.Freelist = l.Mem.Get(raw), int(l.Active.Get(raw)), l.Freelist.Get(raw)
		return sl.check()
	}
	sl.descriptor = l.Descriptor.Get(raw)
	return d.readDescriptor(sl)
}

// readDescriptor reads a struct slab.
func (d *Decoder) readDescriptor(sl *Slab) error {
	l := &d.s.old.desc
	if cap(d.entry) < l.Span() {
		d.entry = make([]byte, l.Span())
	}
	b, err := d.peekAt(sl.descriptor, d.entry[:l.Span()])
	if err != nil {
		return &Error{Cache: sl.Cache.Name, Slab: sl.Start, Err: err, Reason: "its struct slab cannot be read"}
	}
	sl.First, sl.InUse, sl.free = l.Mem.Get(b), int(l.InUse.Get(b)), l.Free.Get(b)
	if sl.InUse < 0 {
		return sl.damaged("%d objects would be in use", sl.InUse)
	}
	return d.moveToStart(sl, sl.First-l.Colour.Get(b))
}

// moveToStart makes the slab of one of its pages that of its first page, where the
// byte at start lies: pages of a slab of SLAB are no compound page until 3.12.
func (d *Decoder) moveToStart(sl *Slab, start uint64) error {
	start &^= d.s.k.PageSize() - 1
	if start > sl.Start || sl.Start-start >= uint64(sl.Bytes()) || start < d.s.direct {
		return sl.damaged("its objects would begin at %#x", sl.First)
	}
	sl.PFN -= (sl.Start - start) / d.s.k.PageSize()
	sl.Start = start
	addr, ok := d.s.pages.Addr(sl.PFN)
	if !ok {
		return sl.damaged("its first page, PFN %#x, has no struct page", sl.PFN)
	}
	sl.Page = addr
	return sl.check()
}

// byDescriptor is the slab that a struct slab describes.
func (d *Decoder) byDescriptor(at uint64) (Slab, error) {
	b, err := d.s.k.Peek(at, make([]byte, d.s.old.desc.Span()))
	if err != nil {
		return Slab{}, fmt.Errorf("struct slab at %#x: %w", at, err)
	}
	mem := d.s.old.desc.Mem.Get(b)
	if mem < d.s.direct || mem-d.s.direct >= d.s.k.Image().Facts().MaxPhys {
		return Slab{}, fmt.Errorf("struct slab at %#x: its objects would lie at %#x: %w", at, mem, ErrDamaged)
	}
	sl, ok, err := d.slabOf((mem - d.s.direct) / d.s.k.PageSize())
	if err == nil && !ok {
		err = fmt.Errorf("struct slab at %#x: its objects lie in no slab: %w", at, ErrDamaged)
	}
	return sl, err
}

// loadOld marks the free objects of a slab of SLAB.
func (d *Decoder) loadOld(sl *Slab, mem []byte) error {
	at := sl.Freelist
	if d.s.old.hasDesc {
		at = sl.descriptor + uint64(d.s.old.desc.Size())
	}
	b, err := d.entries(sl, mem, at)
	if err != nil {
		return err
	}
	return d.followOld(sl, b)
}

// followOld marks the free objects by their list, of which the bytes may be short.
func (d *Decoder) followOld(sl *Slab, b []byte) error {
	size := d.s.old.entry
	index := func(i int) int {
		if (i+1)*size > len(b) {
			return sl.Objects // none
		}
		switch size {
		case 1:
			return int(b[i])
		case 2:
			return int(binary.LittleEndian.Uint16(b[2*i:]))
		}
		return int(binary.LittleEndian.Uint32(b[4*i:]))
	}
	if !d.s.old.hasDesc {
		for n := sl.InUse; n < sl.Objects; n++ {
			if i := index(n); i >= sl.Objects || !d.mark(i) {
				return sl.damaged("its list of free objects has %d of %d, or twice", i, sl.Objects)
			}
		}
		return nil
	}
	for i := int(sl.free); uint32(i) != entryEnd; i = index(i) {
		if i >= sl.Objects {
			return sl.damaged("its list of free objects leads to number %d of %d", i, sl.Objects)
		}
		if !d.mark(i) {
			return sl.damaged("its list of free objects goes in a circle at number %d", i)
		}
	}
	return nil
}

// entries are the bytes of the list of free objects, from the slab's memory where
// the list lies there.
func (d *Decoder) entries(sl *Slab, mem []byte, at uint64) ([]byte, error) {
	n := sl.Objects * d.s.old.entry
	if off := at - sl.Start; off < uint64(sl.Bytes()) {
		if int(off)+n > len(mem) {
			return nil, &Error{Cache: sl.Cache.Name, Slab: sl.Start, Err: ErrPart, Reason: "its list of free objects"}
		}
		return mem[off : int(off)+n], nil
	}
	if cap(d.entry) < n {
		d.entry = make([]byte, n)
	}
	b, err := d.s.k.Peek(at, d.entry[:n])
	if err != nil {
		err = &Error{Cache: sl.Cache.Name, Slab: sl.Start, Err: err, Reason: "its list of free objects cannot be read"}
	}
	return b, err
}

// readArrays reads the arrays of free objects that processors and nodes keep with
// SLAB: struct array_cache of each processor, the one that a node's processors
// share, and those for objects of other nodes (alien).
func (c *Cache) readArrays(h *Held) {
	s := c.s
	for _, cpu := range s.cpus {
		at, err := c.arrayAddr(cpu)
		n := 0
		if err == nil && at != 0 {
			n, err = c.readArray(h, at)
		}
		if err != nil {
			h.fail("cache %s: CPU %d: %w", c.Name, cpu.CPU, err)
		}
		h.CPUs = append(h.CPUs, CPUHeld{CPU: cpu.CPU, Free: n})
	}
	l := &s.node
	for node, addr := range c.nodeAddrs {
		n := 0
		if addr != 0 {
			b, err := s.k.Peek(addr, make([]byte, l.Span()))
			if err != nil {
				h.fail("cache %s: node %d: %w", c.Name, node, err)
			} else {
				n = c.readNodeArrays(h, node, b)
			}
		}
		h.Nodes = append(h.Nodes, n)
	}
}

// arrayAddr is the address of a processor's array.
func (c *Cache) arrayAddr(cpu kernel.CPUArea) (uint64, error) {
	l := &c.s.cache
	if l.Arrays.Has() {
		if p := l.Arrays.Get(c.raw); p != 0 {
			return p + cpu.Offset, nil
		}
		return 0, nil
	}
	return c.s.k.Uint64(c.Addr + l.Array.Offset() + 8*uint64(cpu.CPU))
}

func (c *Cache) readArray(h *Held, at uint64) (int, error) {
	l := &c.s.old.array
	b, err := c.s.k.Peek(at, make([]byte, l.Span()))
	if err != nil {
		return 0, fmt.Errorf("struct array_cache at %#x: %w", at, err)
	}
	n, limit := l.Avail.Get(b), l.Limit.Get(b)
	if n > maxArray || n > limit {
		return 0, fmt.Errorf("struct array_cache at %#x: it would have %d objects, of %d: %w", at, n, limit, ErrDamaged)
	}
	return c.s.readPointers(h, at+l.Entry.Offset(), int(n))
}

func (c *Cache) readNodeArrays(h *Held, node int, b []byte) int {
	s, l := c.s, &c.s.node
	n := 0
	add := func(what string, at uint64) {
		got, err := c.readArray(h, at)
		if n += got; err != nil {
			h.fail("cache %s: node %d: %s: %w", c.Name, node, what, err)
		}
	}
	if l.Shared.Has() && l.Shared.Get(b) != 0 {
		add("shared array", l.Shared.Get(b))
	}
	// Without other nodes alien is a small number (BAD_ALIEN_MAGIC).
	if !l.Alien.Has() || l.Alien.Get(b) < 1<<32 {
		return n
	}
	for _, other := range s.nodes {
		at, err := s.k.Uint64(l.Alien.Get(b) + 8*uint64(other.ID))
		if err != nil {
			h.fail("cache %s: node %d: alien arrays: %w", c.Name, node, err)
			break
		}
		if at != 0 {
			add("alien array", at+s.old.alienArray)
		}
	}
	return n
}
