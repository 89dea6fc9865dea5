package page

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"

	"github.com/kmortem/mortem/kernel"
)

// ErrNoPage: there is no struct page for that page frame.
var ErrNoPage = errors.New("the kernel has no struct page for it")

// Form is how the kernel keeps the array of struct page.
type Form string

// The forms of the array (CONFIG_SPARSEMEM_VMEMMAP, CONFIG_SPARSEMEM,
// CONFIG_FLATMEM, CONFIG_DISCONTIGMEM).
const (
	Vmemmap Form = "vmemmap" // one virtual array with holes
	Sparse  Form = "sparse"  // an array for each section of memory
	Flat    Form = "flat"    // one array
	Discont Form = "discontig"
)

// Form tells how the kernel keeps the array.
func (m *Map) Form() Form { return m.form }

// span is a stretch of PFNs, [first, end), whose struct pages lie at
// base + PFN*size. base is a wrapping number.
type span struct{ first, end, base uint64 }

// Span is a stretch of page frames, [First, End), that have a struct page.
type Span struct{ First, End uint64 }

// Spans are the page frames that have a struct page, ascending.
func (m *Map) Spans() []Span {
	var list []Span
	for _, s := range m.spans {
		list = append(list, Span{s.first, s.end})
	}
	return list
}

// addr is the address of the struct page of a PFN that has one.
func (m *Map) addr(pfn uint64) uint64 {
	if s := m.spanOf(pfn); s != nil {
		return s.base + pfn*m.size
	}
	return 0
}

func (m *Map) spanOf(pfn uint64) *span {
	i := 0
	if len(m.spans) > 1 {
		i = sort.Search(len(m.spans), func(i int) bool { return m.spans[i].end > pfn })
	}
	if i < len(m.spans) && m.spans[i].first <= pfn && pfn < m.spans[i].end {
		return &m.spans[i]
	}
	return nil
}

// Addr is the virtual address of the struct page of a page frame.
func (m *Map) Addr(pfn uint64) (addr uint64, ok bool) {
	s := m.spanOf(pfn)
	if s == nil {
		return 0, false
	}
	return s.base + pfn*m.size, true
}

// PFN is the page frame that a struct page at a virtual address belongs to. It is
// false for an address that is not that of an element of the array.
func (m *Map) PFN(addr uint64) (pfn uint64, ok bool) {
	pfn, ok = m.Containing(addr)
	return pfn, ok && m.addr(pfn) == addr
}

// Containing is PFN for an address anywhere in a struct page.
func (m *Map) Containing(addr uint64) (pfn uint64, ok bool) {
	i := sort.Search(len(m.byAddr), func(i int) bool {
		return m.byAddr[i].base+m.byAddr[i].end*m.size > addr
	})
	if i == len(m.byAddr) {
		return 0, false
	}
	s := m.byAddr[i]
	if start := s.base + s.first*m.size; addr < start {
		return 0, false
	}
	return (addr - s.base) / m.size, true
}

// findSpans finds the array, by what the types say the kernel has.
func (m *Map) findSpans() error {
	var err error
	switch {
	case m.k.HasSymbol("mem_section") && m.k.HasField("struct mem_section", "section_mem_map"):
		if err = m.sections(); err == nil {
			break
		}
		// A damaged table leaves the virtual array, if there is one.
		if m.virtual() != nil {
			return err
		}
	case m.k.HasField("struct pglist_data", "node_mem_map"): // until 5.13 for several nodes
		err = m.nodes()
	case m.k.HasSymbol("mem_map"):
		err = m.flat()
	default:
		err = m.virtual()
	}
	if err != nil && len(m.spans) == 0 {
		return err
	}
	m.settle()
	return nil
}

// settle orders and joins the spans.
func (m *Map) settle() {
	slices.SortFunc(m.spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	joined := m.spans[:0]
	for _, s := range m.spans {
		if n := len(joined); n > 0 && joined[n-1].end == s.first && joined[n-1].base == s.base {
			joined[n-1].end = s.end
			continue
		} else if n > 0 && joined[n-1].end > s.first {
			continue // damaged: two say the same of one page
		}
		joined = append(joined, s)
	}
	m.spans = joined
	m.byAddr = slices.Clone(joined)
	slices.SortFunc(m.byAddr, func(a, b span) int {
		return cmp.Compare(a.base+a.first*m.size, b.base+b.first*m.size)
	})
}

// The bits of section_mem_map below the address: SECTION_MARKED_PRESENT,
// SECTION_HAS_MEM_MAP, and since 4.13 some more.
const (
	sectionHasMap = 1 << 1
	sectionBits   = 0x3f
	maxSections   = 1 << 25 // 52 bits of physical address in sections of 128 MiB
)

// sections reads struct mem_section of all sections (mm/sparse.c). Since 2.6.14
// with CONFIG_SPARSEMEM_EXTREME mem_section has pointers to pages full of them,
// and is itself a pointer since 4.15.
func (m *Map) sections() error {
	t, err := m.k.Type("struct mem_section")
	if err != nil {
		return err
	}
	mapField, err := t.Field("section_mem_map")
	if err != nil {
		return err
	}
	size := uint64(t.Size())
	roots, count, err := m.sectionRoots(m.k.PageSize() / size)
	if err != nil {
		return err
	}
	perRoot := m.k.PageSize() / size
	pages := uint64(1) << m.sectionShift() / m.k.PageSize()
	buf := make([]byte, perRoot*size)
	var failed error
	for i := range count {
		root, err := m.k.Uint64(roots + 8*i)
		if err != nil {
			failed = fmt.Errorf("mem_section[%d]: %w", i, err)
			break
		}
		if root == 0 {
			continue
		}
		if _, err := m.k.Read(buf, root); err != nil {
			failed = fmt.Errorf("mem_section[%d]: %w", i, err)
			continue
		}
		for j := range perRoot {
			coded := binary.LittleEndian.Uint64(buf[j*size+uint64(mapField.Offset):])
			if coded&sectionHasMap == 0 {
				continue
			}
			first := (i*perRoot + j) * pages
			m.spans = append(m.spans, span{first, first + pages, coded &^ sectionBits})
		}
	}
	m.form = Sparse
	if m.oneBase() {
		m.form = Vmemmap
	}
	if len(m.spans) == 0 {
		return cmp.Or(failed, errors.New("mem_section names no section that has one"))
	}
	return nil
}

// oneBase tells whether all sections lie in one array.
func (m *Map) oneBase() bool {
	for _, s := range m.spans {
		if s.base != m.spans[0].base {
			return false
		}
	}
	return true
}

// sectionRoots is where the pointers to the sections' pages are, and how many.
func (m *Map) sectionRoots(perRoot uint64) (at, count uint64, err error) {
	if at, err = m.k.Symbol("mem_section"); err != nil {
		return 0, 0, err
	}
	limit := m.maxPFN()*m.k.PageSize()>>m.sectionShift()/perRoot + 1
	limit = min(limit, maxSections/perRoot)
	if sym, ok := m.k.Info().Symbols().Lookup("mem_section"); ok && sym.Size > 8 {
		return at, min(limit, sym.Size/8), nil
	}
	t, err := m.k.Info().Variable("mem_section")
	if err == nil && t.Strip().Count > 1 {
		return at, min(limit, uint64(t.Strip().Count)), nil
	}
	at, err = m.k.Uint64(at)
	return at, limit, err
}

// sectionShift is SECTION_SIZE_BITS, which VMCOREINFO has since 5.14; on x86-64
// it has always been 27.
func (m *Map) sectionShift() uint {
	if vmci := m.k.Image().Facts().VMCoreInfo; vmci != nil {
		if n, ok := vmci.Number("SECTION_SIZE_BITS"); ok && n >= 20 && n <= 40 {
			return uint(n)
		}
	}
	return 27
}

// maxPFN is max_pfn: the end of memory as the kernel saw it, or what the dump has.
func (m *Map) maxPFN() uint64 {
	end := m.k.Image().Facts().MaxPhys / m.k.PageSize()
	if addr, err := m.k.Symbol("max_pfn"); err == nil {
		if n, err := m.k.Uint64(addr); err == nil && n < 1<<40 {
			end = max(end, n)
		}
	}
	return end
}

// nodes reads the arrays of the nodes of kernels with CONFIG_FLATMEM or, until
// 5.13, CONFIG_DISCONTIGMEM.
func (m *Map) nodes() error {
	var l struct {
		kernel.Layout `kernel:"struct pglist_data"`
		Map           kernel.U64 `kernel:"node_mem_map"`
		First         kernel.U64 `kernel:"node_start_pfn"`
		Spanned       kernel.U64 `kernel:"node_spanned_pages"`
	}
	if err := m.k.Resolve(&l); err != nil {
		return err
	}
	nodes, err := m.k.Nodes()
	if err != nil {
		return err
	}
	buf := make([]byte, l.Span())
	var failed error
	for _, n := range nodes {
		b, err := m.k.Peek(n.Addr, buf)
		if err != nil {
			failed = err
			continue
		}
		first := l.First.Get(b)
		end := first + l.Spanned.Get(b)
		if l.Map.Get(b) == 0 || first >= end || end > 1<<40 {
			continue
		}
		m.spans = append(m.spans, span{first, end, l.Map.Get(b) - first*m.size})
	}
	m.form = Flat
	if len(nodes) > 1 {
		m.form = Discont
	}
	if len(m.spans) == 0 {
		return cmp.Or(failed, errors.New("no node has one"))
	}
	return nil
}

// flat reads mem_map.
func (m *Map) flat() error {
	at, err := m.k.Symbol("mem_map")
	if err != nil {
		return err
	}
	if at, err = m.k.Uint64(at); err != nil {
		return err
	}
	m.form = Flat
	m.spans = []span{{0, m.maxPFN(), at}}
	return nil
}

// Where the virtual array lies without randomisation
// (arch/x86/include/asm/pgtable_64_types.h).
const (
	amd64Vmemmap4 = 0xffffea0000000000
	amd64Vmemmap5 = 0xffd4000000000000
)

// virtual finds the virtual array without the table of sections: vmemmap_base
// since 4.9, a constant before.
func (m *Map) virtual() error {
	bases := []uint64{amd64Vmemmap4, amd64Vmemmap5}
	if at, err := m.k.Symbol("vmemmap_base"); err == nil {
		if base, err := m.k.Uint64(at); err == nil {
			bases = append([]uint64{base}, bases...)
		}
	}
	for _, base := range bases {
		for r := range m.k.Image().Ranges() { // any page of memory has one
			if _, _, err := m.k.Translate(base + r.Start/m.k.PageSize()*m.size); err == nil {
				m.form = Vmemmap
				m.spans = []span{{0, m.maxPFN(), base}}
				return nil
			}
			break
		}
	}
	return fmt.Errorf("%w: neither mem_section, mem_map nor vmemmap_base leads to it", kernel.ErrNotFound)
}

// Block is a run of struct pages.
type Block struct {
	First uint64 // PFN of the first one
	N     int    // how many
	Bytes []byte // N times Size bytes; valid until the next block is asked for
}

// At is the i-th struct page of the block.
func (b *Block) At(i, size int) []byte { return b.Bytes[i*size : (i+1)*size] }

// blockPages is how many struct pages are read at once: enough to make each read
// cheap, few enough to stay in a processor's cache.
const blockPages = 512

// Blocks reads the struct pages of the page frames [from, to) in order. A block
// with an error has no bytes: those N cannot be read. Page frames without a struct
// page are passed over. It does not allocate but for one buffer.
func (m *Map) Blocks(from, to uint64) iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		buf := make([]byte, blockPages*m.size)
		for _, s := range m.spans {
			if !m.blocksOf(s, max(from, s.first), min(to, s.end), buf, yield) {
				return
			}
		}
	}
}

func (m *Map) blocksOf(s span, pfn, end uint64, buf []byte, yield func(Block, error) bool) bool {
	for pfn < end {
		want := min(end-pfn, blockPages)
		addr := s.base + pfn*m.size
		got, err := m.k.Read(buf[:want*m.size], addr)
		n := min(uint64(got)/m.size, want)
		if n > 0 && !yield(Block{First: pfn, N: int(n), Bytes: buf[:n*m.size]}, nil) {
			return false
		}
		if pfn += n; err == nil {
			continue
		}
		lost := min(m.lost(addr+uint64(got), s.base+pfn*m.size), end-pfn)
		if !yield(Block{First: pfn, N: int(lost)}, fmt.Errorf("%d struct pages from PFN %#x on: %w", lost, pfn, err)) {
			return false
		}
		pfn += lost
	}
	return true
}

// lost is how many struct pages from at on are lost with the page of bad, which
// cannot be read.
func (m *Map) lost(bad, at uint64) uint64 {
	next := (bad | (m.k.PageSize() - 1)) + 1
	return max(1, (next-at+m.size-1)/m.size)
}
