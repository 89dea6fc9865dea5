package page_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/page"
)

// On the layout of each release the pages of the slabs are those of the plan, and
// the tails of each lead to its head.
func TestReleases(t *testing.T) {
	for _, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			plan := synthetic.New(l, synthetic.Machine{MemMap: true, RAM: 48 << 20})
			for range 100 {
				plan.Kmalloc(64)
				plan.Kmalloc(2048)
			}
			m := open(t, kerneltest.Synthetic(t, plan))
			heads, tails := make(map[uint64]bool), make(map[uint64]uint64)
			for _, c := range plan.Caches() {
				for _, s := range c.Slabs {
					pfn := s.Phys / 4096
					heads[pfn] = true
					for i := range uint64(1) << c.Order {
						tails[pfn+i] = pfn
						if l.Trait("allocator") == "slab" { // no compound pages
							heads[pfn+i], tails[pfn+i] = true, pfn+i
						}
					}
				}
			}
			checkSlabs(t, m, heads, tails)
		})
	}
}

func checkSlabs(t *testing.T, m *page.Map, heads map[uint64]bool, tails map[uint64]uint64) {
	t.Helper()
	found := 0
	for b, err := range m.Blocks(0, m.Spans()[0].End) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.N {
			p := m.Decode(b.First+uint64(i), b.At(i, m.Size()))
			if want, ok := tails[p.PFN]; ok {
				if head, ok := m.Head(&p); !ok || head != want {
					t.Errorf("PFN %#x: its head is %#x, %v; planned %#x", p.PFN, head, ok, want)
				}
			}
			if !p.Slab || p.Head != 0 {
				continue
			}
			if found++; !heads[p.PFN] {
				t.Errorf("PFN %#x is taken for a slab", p.PFN)
			}
		}
	}
	if found != len(heads) || found == 0 {
		t.Errorf("%d slabs, planned %d", found, len(heads))
	}
}

// A part of the array that the dump lacks is said, and what is around it is read.
func TestHole(t *testing.T) {
	plan := synthetic.New(synthetic.EL7(), synthetic.Machine{MemMap: true, RAM: 48 << 20})
	full := kerneltest.Synthetic(t, plan)
	at, ok := open(t, full).Addr(640)
	if !ok {
		t.Fatal("no struct page")
	}
	phys, _, err := full.Translate(at)
	if err != nil {
		t.Fatal(err)
	}
	d := plan.Dump()
	d.Exclude(plan.Virt(phys))
	image, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, full.Info(), kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, k)
	next, lost := uint64(0), 0
	for b, err := range m.Blocks(0, 1000) {
		if b.First != next {
			t.Errorf("a block starts at PFN %#x, not %#x", b.First, next)
		}
		if next += uint64(b.N); err != nil {
			lost += b.N
			if b.First != 640 {
				t.Errorf("PFN %#x: %v", b.First, err)
			}
		}
	}
	if lost != 4096/m.Size() || next != 1000 {
		t.Errorf("%d struct pages are lost, the last is %#x", lost, next)
	}
}

func BenchmarkDecode(b *testing.B) {
	plan := synthetic.New(synthetic.EL7(), synthetic.Machine{MemMap: true, RAM: 256 << 20})
	m := open(b, kerneltest.Synthetic(b, plan))
	b.ReportAllocs()
	pages := 0
	for b.Loop() {
		for blk, err := range m.Blocks(0, 1<<16) {
			if err != nil {
				b.Fatal(err)
			}
			for i := range blk.N {
				p := m.Decode(blk.First+uint64(i), blk.At(i, m.Size()))
				if p.Slab {
					pages++
				}
			}
		}
	}
	b.ReportMetric(float64(b.N)*(1<<16)/b.Elapsed().Seconds(), "pages/s")
}
