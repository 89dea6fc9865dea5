package page_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/page"
)

// What section_mem_map says beside the address: present, has a mem_map, is online.
const sectionOnline = 7

// section is how many pages a section of 128 MiB has.
const section = 128 << 20 / 4096

// sections gives a machine the table of sections that the arrays of struct page at some
// addresses belong to: one section each.
func sections(plan *synthetic.Kernel, arrays ...uint64) {
	size := plan.Layout.Size("mem_section")
	root := plan.Virt(plan.AllocPages(0))
	for i, array := range arrays {
		at := root + uint64(i)*size + plan.Layout.Offset("mem_section", "section_mem_map")
		if array != 0 {
			plan.PutUint64(at, array-uint64(i)*section*plan.Layout.Size("page")|sectionOnline)
		}
	}
	roots := plan.Virt(plan.AllocPages(0))
	plan.PutUint64(roots, root)
	plan.SetVar("mem_section", "struct mem_section * *", roots)
}

// The table of sections leads to one virtual array, or to arrays of their own with holes
// between.
func TestSections(t *testing.T) {
	for _, l := range []*synthetic.Layout{synthetic.EL7(), synthetic.V7()} {
		t.Run(l.Name+"/vmemmap", func(t *testing.T) {
			plan := synthetic.New(l, synthetic.Machine{MemMap: true, RAM: 256 << 20})
			sections(plan, plan.PageAddr(0), plan.PageAddr(128<<20))
			m := open(t, kerneltest.Synthetic(t, plan))
			if spans := m.Spans(); m.Form() != page.Vmemmap || len(spans) != 1 || spans[0] != (page.Span{First: 0, End: 2 * section}) {
				t.Errorf("%s, %v", m.Form(), spans)
			}
		})
		t.Run(l.Name+"/sparse", func(t *testing.T) {
			plan := synthetic.New(l, synthetic.Machine{MemMap: true, RAM: 256 << 20})
			var array uint64
			for i := range uint64(section) * plan.Layout.Size("page") / 4096 { // they follow each other
				if at := plan.Virt(plan.AllocPages(0)); i == 0 {
					array = at
				}
			}
			const pfn = section + 77
			own := array + 77*plan.Layout.Size("page")
			plan.ObjectAt("page", own).SetAny(0x1234, "_refcount.counter", "_count.counter")
			sections(plan, plan.PageAddr(0), array)
			m := open(t, kerneltest.Synthetic(t, plan))
			addr, ok := m.Addr(pfn)
			back, found := m.PFN(own)
			if m.Form() != page.Sparse || !ok || addr != own || !found || back != pfn {
				t.Fatalf("%s: %#x, %v; PFN %#x, %v", m.Form(), addr, ok, back, found)
			}
			if p, err := m.Page(pfn); err != nil || p.Refcount != 0x1234 {
				t.Errorf("%v, %+v", err, p)
			}
			if back, ok := m.PFN(plan.PageAddr(4096)); !ok || back != 1 {
				t.Errorf("the first section: PFN %#x, %v", back, ok)
			}
		})
	}
}

// A section without an array has no pages.
func TestHoleBetweenSections(t *testing.T) {
	plan := synthetic.New(synthetic.V5_10(), synthetic.Machine{MemMap: true, RAM: 384 << 20})
	sections(plan, plan.PageAddr(0), 0, plan.PageAddr(256<<20))
	m := open(t, kerneltest.Synthetic(t, plan))
	if _, ok := m.Addr(section + 1); ok || len(m.Spans()) != 2 || m.Form() != page.Vmemmap {
		t.Errorf("%v, %s", m.Spans(), m.Form())
	}
	n := uint64(0)
	for b, err := range m.Blocks(0, 3*section) {
		if err != nil {
			t.Fatal(err)
		}
		n += uint64(b.N)
	}
	if n != 2*section {
		t.Errorf("%d pages", n)
	}
}

// mem_map is one array from the first page on.
func TestFlat(t *testing.T) {
	plan := synthetic.New(synthetic.EL6(), synthetic.Machine{MemMap: true, RAM: 64 << 20})
	plan.SetVar("mem_map", "struct page *", plan.PageAddr(0))
	m := open(t, kerneltest.Synthetic(t, plan))
	addr, ok := m.Addr(0x123)
	if m.Form() != page.Flat || !ok || addr != plan.PageAddr(0x123<<12) {
		t.Errorf("%s: %#x, %v", m.Form(), addr, ok)
	}
}
