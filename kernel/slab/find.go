package slab

import (
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
)

func circular(k *kernel.Kernel, head uint64) iter.Seq2[uint64, error] {
	return list.Circular(k, head, maxList)
}

// reset makes the decoder ready to mark the free objects of a slab.
func (d *Decoder) reset(sl *Slab) {
	words := (sl.Objects + 63) / 64
	if cap(d.bits) < words {
		d.bits = make([]uint64, words)
	}
	d.bits = d.bits[:words]
	clear(d.bits)
	d.Free = 0
}

// SlabOf is the slab that a page frame belongs to; false for one that belongs to
// none. The error wraps ErrDamaged where what its struct page says cannot be,
// and a *kernel.ReadError where that cannot be read.
func (s *Allocations) SlabOf(pfn uint64) (sl Slab, ok bool, err error) {
	return s.NewDecoder().slabOf(pfn)
}

func (d *Decoder) slabOf(pfn uint64) (sl Slab, ok bool, err error) {
	m := d.s.pages
	p, err := m.Page(pfn)
	if err != nil {
		return sl, false, err
	}
	head, ok := m.Head(&p)
	if !ok {
		return sl, false, fmt.Errorf("the struct page of PFN %#x leads to a head at %#x, which is none: %w", pfn, p.Head, ErrDamaged)
	}
	if head != pfn {
		if p, err = m.Page(head); err != nil {
			return sl, false, err
		}
	}
	if !p.Slab {
		return sl, false, nil
	}
	addr, _ := m.Addr(head)
	raw := make([]byte, 2*m.Size())
	if got, err := d.s.k.Read(raw, addr); got < m.Size() {
		return sl, false, err
	}
	sl, err = d.Slab(&p, raw[:m.Size()], raw[m.Size():])
	return sl, true, err
}

// read reads the slab that a struct page belongs to, and its memory. Where a part of
// the memory cannot be had the bytes end there.
func (d *Decoder) read(at uint64) (sl Slab, mem []byte, err error) {
	pfn, ok := d.s.pages.PFN(at)
	if !ok {
		return sl, nil, fmt.Errorf("%#x is no struct page: %w", at, ErrDamaged)
	}
	sl, ok, err = d.slabOf(pfn)
	if err == nil && !ok {
		err = fmt.Errorf("the page of PFN %#x is no slab: %w", pfn, ErrDamaged)
	}
	if err != nil {
		return sl, nil, err
	}
	mem, err = d.s.Read(&sl)
	return sl, mem, err
}

// Read reads the memory of a slab. Where a part cannot be had the bytes end there,
// and there is an error.
func (s *Allocations) Read(sl *Slab) ([]byte, error) {
	mem := make([]byte, sl.Bytes())
	n, err := s.k.Read(mem, sl.Start)
	return mem[:n], err
}

// Object is an object of a slab cache.
type Object struct {
	Slab   Slab
	Index  int    // which one of the slab
	Addr   uint64 // virtual address of its first byte
	Offset int    // how far into it the address lies that was asked for
	Free   bool   // it is not in use
	// Doubt says why Free may be wrong: the slab's list of free objects is damaged
	// or cannot be read.
	Doubt error
}

// ObjectAt finds the object that a virtual address of the direct mapping lies in.
// It is false where the address belongs to no slab, or to what is between objects:
// then Object has the slab, if there is one. Errors are those of SlabOf, or a
// *Error of the slab.
func (s *Allocations) ObjectAt(addr uint64) (Object, bool, error) {
	if addr < s.direct || addr-s.direct >= s.k.Image().Facts().MaxPhys {
		return Object{}, false, nil
	}
	d := s.NewDecoder()
	sl, ok, err := d.slabOf((addr - s.direct) / s.k.PageSize())
	if err != nil || !ok {
		return Object{Slab: sl}, false, err
	}
	i, off, ok := sl.Index(addr)
	if !ok {
		return Object{Slab: sl}, false, nil
	}
	o := Object{Slab: sl, Index: i, Addr: sl.Object(i), Offset: off}
	mem, err := s.Read(&sl)
	o.Doubt = d.Load(&sl, mem)
	if err != nil {
		o.Doubt = err
	}
	o.Free = d.IsFree(i)
	return o, true, nil
}

// Walk yields all slabs of page frames [from, to), in order, by what their struct
// pages say. An error is that of one slab, or of struct pages that cannot be read; a
// slab comes with it where its cache is known.
func (s *Allocations) Walk(from, to uint64) iter.Seq2[Slab, error] {
	return func(yield func(Slab, error) bool) {
		d := s.NewDecoder()
		size := s.pages.Size()
		for b, err := range s.pages.Blocks(from, to) {
			if err != nil {
				if !yield(Slab{}, err) {
					return
				}
				continue
			}
			for i := range b.N {
				raw := b.At(i, size)
				if !s.pages.IsSlab(raw) {
					continue
				}
				p := s.pages.Decode(b.First+uint64(i), raw)
				if p.Head != 0 {
					continue // old kernels mark all pages of a slab
				}
				var next []byte
				if i+1 < b.N {
					next = b.At(i+1, size)
				}
				sl, err := d.Slab(&p, raw, next)
				if err == nil && sl.PFN != p.PFN {
					continue
				}
				if !yield(sl, err) {
					return
				}
			}
		}
	}
}

// Partial yields the slabs that are in the nodes' lists of partly used ones, whatever
// their caches' other slabs. An error is that of one slab or the end of a broken list.
func (s *Allocations) Partial(c *Cache) iter.Seq2[Slab, error] {
	return func(yield func(Slab, error) bool) {
		d := s.NewDecoder()
		for _, node := range c.nodeAddrs {
			if node == 0 {
				continue
			}
			for link, err := range circular(s.k, node+s.node.Partial.Offset()) {
				var sl Slab
				if err == nil {
					sl, err = d.byLink(link)
				}
				if !yield(sl, err) {
					return
				}
			}
		}
	}
}

// byLink is the slab whose list_head is at an address.
func (d *Decoder) byLink(link uint64) (Slab, error) {
	at := link - d.s.slab.Link.Offset()
	if d.s.old.hasDesc {
		return d.byDescriptor(link - d.s.old.desc.Link.Offset())
	}
	pfn, ok := d.s.pages.PFN(at)
	if !ok {
		return Slab{}, fmt.Errorf("%#x is no struct page: %w", at, ErrDamaged)
	}
	sl, ok, err := d.slabOf(pfn)
	if err == nil && !ok {
		err = fmt.Errorf("the page of PFN %#x is no slab: %w", pfn, ErrDamaged)
	}
	return sl, err
}
