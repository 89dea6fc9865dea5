package slab

import (
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/list"
)

const (
	maxCaches = 1 << 17 // those of memory cgroups included
	maxName   = 256
	maxOrder  = 10 // MAX_ORDER
)

// readCaches goes over the list of all caches: slab_caches, and cache_chain with
// SLAB until 3.6.
func (s *Allocations) readCaches() error {
	head, err := s.k.Symbol("slab_caches")
	if err != nil {
		if head, err = s.k.Symbol("cache_chain"); err != nil {
			return fmt.Errorf("slab caches: neither slab_caches nor cache_chain: %w", err)
		}
	}
	for node, err := range list.Circular(s.k, head, maxCaches) {
		if err != nil {
			s.broken = fmt.Errorf("the list of slab caches: %w", err)
			break
		}
		c, err := s.readCache(node - s.cache.Link.Offset())
		if err != nil {
			s.broken = err
			continue
		}
		s.caches = append(s.caches, c)
		s.byAddr[c.Addr] = c
	}
	if len(s.caches) == 0 {
		if s.broken != nil {
			return s.broken
		}
		return fmt.Errorf("%w: the kernel's list of them is empty", ErrNoCache)
	}
	return nil
}

func (s *Allocations) readCache(addr uint64) (*Cache, error) {
	l := &s.cache
	b := make([]byte, l.Span())
	if n, err := s.k.Read(b, addr); err != nil && n < int(l.Link.Offset()) {
		return nil, fmt.Errorf("struct kmem_cache at %#x: %w", addr, err)
	}
	c := &Cache{
		Addr:       addr,
		Size:       int(int32(l.Size.Get(b))),
		ObjectSize: int(uint32(l.ObjectSize.Or0(b))),
		Flags:      l.Flags.Get(b),
		Refcount:   1,
		LeftPad:    int(uint32(l.LeftPad.Or0(b))),
		InUse:      int(uint32(l.InUse.Or0(b))),
		Align:      int(uint32(l.Align.Or0(b))),
		Capacity:   int(uint32(l.Capacity.Or0(b))),
		freeAt:     int(uint32(l.FreeAt.Or0(b))),
		raw:        b,
		s:          s,
	}
	if l.Refcount.Has() {
		c.Refcount = int(l.Refcount.Get(b))
	}
	if l.Ctor.Has() {
		c.Ctor = l.Ctor.Get(b)
	}
	if l.Random.Has() {
		c.random = l.Random.Get(b)
	}
	if c.ObjectSize == 0 {
		c.ObjectSize = c.Size
	}
	s.shape(c)
	name, err := s.k.CString(l.Name.Get(b), maxName)
	if c.Name = cstr.Show(name); err != nil && c.Name == "" {
		c.Name = fmt.Sprintf("%#x", addr)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	c.nodeAddrs, c.barns = s.nodesOf(c)
	return c, nil
}

// shape reads how the cache's slabs are laid out.
func (s *Allocations) shape(c *Cache) {
	l := &s.cache
	if s.kind == SLUB {
		oo := l.OO.Get(c.raw)
		c.Order, c.PerSlab = int(oo>>16&0xffff), int(oo&0xffff)
		return
	}
	c.PerSlab, c.Order = int(uint32(l.Num.Or0(c.raw))), int(uint32(l.Order.Or0(c.raw)))
	c.slabSize = int(uint32(l.SlabSize.Or0(c.raw)))
	// CFLGS_OFF_SLAB was bit 31 until 4.14, bit 31 and 30 since; the flags that
	// users give are below.
	c.outside = c.Flags>>30 != 0
}

// check refuses what can be no cache, so that nothing else needs to.
func (c *Cache) check() error {
	bytes := c.slabBytes(min(max(c.Order, 0), maxOrder))
	switch {
	case c.Order < 0 || c.Order > maxOrder:
		return fmt.Errorf("struct kmem_cache at %#x (%s): its slabs have order %d", c.Addr, c.Name, c.Order)
	case c.Size <= 0 || uint64(c.Size) > bytes:
		return fmt.Errorf("struct kmem_cache at %#x (%s): its objects have %d bytes", c.Addr, c.Name, c.Size)
	case c.PerSlab <= 0 || uint64(c.PerSlab)*uint64(c.Size) > bytes:
		return fmt.Errorf("struct kmem_cache at %#x (%s): %d objects of %d bytes in a slab of %d", c.Addr, c.Name, c.PerSlab, c.Size, bytes)
	case c.ObjectSize < 0 || c.ObjectSize > c.Size || c.LeftPad < 0 || c.LeftPad > int(bytes):
		return fmt.Errorf("struct kmem_cache at %#x (%s): its sizes contradict each other", c.Addr, c.Name)
	case c.freeAt < 0 || c.freeAt+8 > c.Size && c.s.kind == SLUB:
		return fmt.Errorf("struct kmem_cache at %#x (%s): the pointer of a free object lies at byte %d of %d", c.Addr, c.Name, c.freeAt, c.Size)
	}
	return nil
}

// nodesOf are the addresses of a cache's structures for each node, by number of
// the node, and of the sheaves kept there.
func (s *Allocations) nodesOf(c *Cache) (nodes, barns []uint64) {
	l := &s.cache
	at, stride, first := uint64(0), uint64(8), uint64(0)
	switch {
	case l.PerNode.Has():
		stride, first = 16, 8
		at = c.Addr + l.PerNode.Offset()
	case l.Lists.Has():
		at = c.Addr + l.Lists.Offset()
	case l.Node.Has():
		at = c.Addr + l.Node.Offset()
	default:
		return nil, nil
	}
	if s.old.listsPtr || l.Node.Has() && s.nodeIsPointer() {
		p, err := s.k.Uint64(at)
		if err != nil {
			return nil, nil
		}
		at = p
	}
	last := 0
	for _, n := range s.nodes {
		last = max(last, n.ID)
	}
	buf := make([]byte, stride*uint64(last+1))
	got, _ := s.k.Read(buf, at)
	for i := range last + 1 {
		if uint64(got) < stride*uint64(i+1) {
			break
		}
		nodes = append(nodes, binary.LittleEndian.Uint64(buf[stride*uint64(i)+first:]))
		if l.PerNode.Has() {
			barns = append(barns, binary.LittleEndian.Uint64(buf[stride*uint64(i):]))
		}
	}
	return nodes, barns
}

// nodeIsPointer tells whether kmem_cache.node is a pointer to the array, as with
// SLAB in 3.10 to 3.18.
func (s *Allocations) nodeIsPointer() bool {
	t, err := s.k.Type("struct kmem_cache")
	if err != nil {
		return false
	}
	f, err := t.Field("node")
	return err == nil && f.Type.Strip().Kind == ctype.Pointer
}
