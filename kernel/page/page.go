// Package page reads the array of struct page: where it lies, what each entry
// says of its page, and which entry belongs to which page frame number (PFN).
package page

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// Map is the array of struct page (mem_map) of the kernel in a dump. It is safe
// for use by many goroutines.
type Map struct {
	k      *kernel.Kernel
	layout pageLayout
	size   uint64 // of a struct page, bytes
	form   Form
	spans  []span // ascending by PFN
	byAddr []span // the same, ascending by address
	kinds  kinds
	place  place
}

// pageLayout is struct page (include/linux/mm_types.h). What changed: flags is a
// struct of its own since 6.18; _count became _refcount in 4.6; _mapcount is
// called page_type too since 4.18; a tail page points to its head by first_page
// until 4.3, by compound_head since, and by compound_info in 7.x.
type pageLayout struct {
	kernel.Layout `kernel:"struct page"`
	Flags         kernel.U64    `kernel:"flags.f|flags"`
	Refcount      kernel.I32    `kernel:"_refcount.counter|_count.counter"`
	Type          kernel.U32    `kernel:"page_type|_mapcount.counter"`
	Mapcount      kernel.I32    `kernel:"_mapcount.counter"`
	Mapping       kernel.U64    `kernel:"mapping"`
	Private       kernel.U64    `kernel:"private"`
	Head          kernel.U64    `kernel:"compound_head|compound_info,optional"`
	FirstPage     kernel.U64    `kernel:"first_page,optional"`
	Order         kernel.Uint   `kernel:"compound_order,optional"`
	LRU           kernel.U64    `kernel:"lru.next"`
	LRUPrev       kernel.U64    `kernel:"lru.prev"`
	TypeMember    kernel.Offset `kernel:"page_type,optional"`
}

// Page is one struct page (include/linux/mm_types.h), decoded.
type Page struct {
	PFN      uint64
	Addr     uint64 // virtual address of the struct page
	Flags    uint64 // page flags as the kernel has them, node and zone included
	Head     uint64 // of a tail page of a compound page: address of the head's struct page; else 0
	Mapping  uint64 // struct address_space, or an anon_vma with bit 0; other uses too
	Private  uint64 // the order of a free page; other uses too
	Type     uint32 // page_type, or _mapcount, as the kernel has it
	Refcount int32
	Slab     bool // belongs to the slab allocator; in kernels since 5.17 only heads say so
	Buddy    bool // is the first of a free block, of the order that Private has
	HeadPage bool // is the first of a compound page
}

// Open finds the array of struct page. The error wraps kernel.ErrNotFound where
// the debug information lacks what is needed.
func Open(k *kernel.Kernel) (*Map, error) {
	m := &Map{k: k}
	if err := k.Resolve(&m.layout); err != nil {
		return nil, fmt.Errorf("the array of struct page: %w", err)
	}
	m.size = uint64(m.layout.Size())
	if err := m.findSpans(); err != nil {
		return nil, fmt.Errorf("the array of struct page: %w", err)
	}
	if err := m.kinds.resolve(k, &m.layout); err != nil {
		return nil, fmt.Errorf("page flags: %w", err)
	}
	m.place.resolve(k, m.form)
	return m, nil
}

// Size is the size of a struct page in bytes: the stride of Block.Bytes.
func (m *Map) Size() int { return int(m.size) }

// Decode reads a struct page from its bytes, of which there are Size.
func (m *Map) Decode(pfn uint64, b []byte) Page {
	l, t := &m.layout, &m.kinds
	p := Page{
		PFN:      pfn,
		Addr:     m.addr(pfn),
		Flags:    l.Flags.Get(b),
		Mapping:  l.Mapping.Get(b),
		Private:  l.Private.Get(b),
		Type:     l.Type.Get(b),
		Refcount: l.Refcount.Get(b),
	}
	p.Head = m.head(&p, b)
	p.HeadPage = p.Head == 0 && p.Flags&t.headMask == t.headWant
	p.Slab = t.slab.matches(p.Flags, p.Type)
	// The same bytes count a slab's objects in some kernels.
	p.Buddy = !p.Slab && t.buddy.matches(p.Flags, p.Type)
	return p
}

// head is the address of the head's struct page for a tail page, else 0.
func (m *Map) head(p *Page, b []byte) uint64 {
	l, t := &m.layout, &m.kinds
	if l.Head.Has() {
		info := l.Head.Get(b)
		if info&1 == 0 {
			return 0
		}
		return headOf(p.Addr, info)
	}
	if t.tailMask != 0 && p.Flags&t.tailMask == t.tailMask && l.FirstPage.Has() {
		return l.FirstPage.Get(b)
	}
	return 0
}

// headOf reads compound_head, or what compound_info is in 7.x where struct page
// has a size that is a power of 2: a mask for the tail's own address. A mask
// has ones down to a bit far below those that differ between kernel addresses.
func headOf(addr, info uint64) uint64 {
	info &^= 1
	if low := -info; low&(low-1) == 0 && low < 1<<40 {
		return addr & info
	}
	return info
}

// Page reads the struct page of a PFN. The error wraps ErrNoPage where there is
// none, and a *kernel.ReadError where it cannot be read.
func (m *Map) Page(pfn uint64) (Page, error) {
	addr, ok := m.Addr(pfn)
	if !ok {
		return Page{}, fmt.Errorf("PFN %#x: %w", pfn, ErrNoPage)
	}
	b, err := m.k.Peek(addr, make([]byte, m.size))
	if err != nil {
		return Page{}, fmt.Errorf("struct page of PFN %#x: %w", pfn, err)
	}
	return m.Decode(pfn, b), nil
}

// Head is the PFN of the first page of the compound page that p belongs to: of p
// itself where it belongs to none. It is false where a tail page points to what is
// no head before it.
func (m *Map) Head(p *Page) (pfn uint64, ok bool) {
	if p.Head == 0 {
		return p.PFN, true
	}
	pfn, ok = m.PFN(p.Head)
	return pfn, ok && pfn < p.PFN && p.PFN-pfn < 1<<maxOrder
}

// maxOrder bounds the order of a compound page: 1 GiB of pages of 4 KiB.
const maxOrder = 18

// Order is the order of the compound page whose head p is: 1<<Order pages; 0 for
// a page that is no head. next is the struct page behind it, which has the order.
func (m *Map) Order(p *Page, next []byte) int {
	if !p.HeadPage {
		return 0
	}
	l := &m.layout
	order := uint64(0)
	switch {
	case m.kinds.orderInFlags: // since 6.6: folio._flags_1
		order = l.Flags.Get(next) & 0xff
	case l.Order.Has(): // since 3.19
		order = l.Order.Get(next)
	default:
		order = l.LRUPrev.Get(next)
	}
	return int(min(order, maxOrder))
}
