package page_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/page"
)

func open(t testing.TB, k *kernel.Kernel) *page.Map {
	t.Helper()
	m, err := page.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// census counts what the struct pages say.
type census struct {
	slab, buddy, reserved, pages uint64
	byNode                       map[int]uint64 // free pages
	byZone                       map[[2]int]uint64
	tables                       uint64
}

func count(t testing.TB, m *page.Map) census {
	t.Helper()
	c := census{byNode: make(map[int]uint64), byZone: make(map[[2]int]uint64)}
	reserved, ok := m.Flag("PG_reserved")
	if !ok {
		t.Fatal("no PG_reserved")
	}
	end := m.Spans()[len(m.Spans())-1].End
	for b, err := range m.Blocks(0, end) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.N {
			p := m.Decode(b.First+uint64(i), b.At(i, m.Size()))
			c.pages++
			switch {
			case p.Slab:
				order := 0
				if p.HeadPage { // its next page is in the block: slabs are aligned
					order = m.Order(&p, b.At(i+1, m.Size()))
					checkTail(t, m, p.PFN, order)
				}
				c.slab += 1 << order
			case p.Buddy:
				c.buddy += 1 << p.Private
				c.byNode[m.Node(&p)] += 1 << p.Private
				c.byZone[[2]int{m.Node(&p), m.Zone(&p)}] += 1 << p.Private
			case p.Flags&reserved != 0:
				c.reserved++
			case m.TypeName(&p) == "table":
				c.tables++
			}
		}
	}
	return c
}

// The last page of a compound page leads to its head.
func checkTail(t testing.TB, m *page.Map, head uint64, order int) {
	t.Helper()
	tail, err := m.Page(head + 1<<order - 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := m.Head(&tail); !ok || got != head || order < 1 || order > 3 {
		t.Errorf("PFN %#x: the head of the last page, of %d, is %#x, %v", head, 1<<order, got, ok)
	}
}

// The blocks of the buddy allocator, by node, zone and in all, are those of
// /proc/buddyinfo, and slab pages those of /proc/meminfo, as of a moment earlier.
func TestGuestCounts(t *testing.T) {
	for _, boot := range []struct{ name, file string }{
		{"main", "main/vmcore.kdump"}, {"kdump", "kdump/vmcore.kdump"},
	} {
		t.Run(boot.name, func(t *testing.T) {
			facts := fixtures.Truth(t, boot.name)
			path := boot.file
			if boot.name == "main" {
				path = fixtures.Path(t, path)
			} else {
				path = fixtures.Unpacked(t, path)
			}
			m := open(t, kerneltest.FS(t, path).Kernel())
			if m.Form() != page.Vmemmap {
				t.Errorf("form %s", m.Form())
			}
			checkCounts(t, m, count(t, m), facts)
		})
	}
}

func checkCounts(t *testing.T, m *page.Map, got census, facts *truth.Truth) {
	t.Helper()
	near := func(what string, got, want, slack uint64) {
		t.Helper()
		if got > want+slack || want > got+slack {
			t.Errorf("%s: %d, the guest says %d", what, got, want)
		}
	}
	node := 0
	var zone string
	free, nodes := uint64(0), make(map[int]uint64)
	for line := range strings.Lines(facts.Late["/proc/buddyinfo"]) {
		f := strings.Fields(strings.NewReplacer(",", " ").Replace(line))
		node, _ = strconv.Atoi(f[1])
		zone = f[3]
		sum := uint64(0)
		for order, n := range f[4:] {
			v, _ := strconv.ParseUint(n, 10, 64)
			sum += v << order
		}
		free += sum
		nodes[node] += sum
		index := slices.Index([]string{"DMA", "DMA32", "Normal"}, zone)
		near("free in zone "+zone+" of node "+strconv.Itoa(node), got.byZone[[2]int{node, index}], sum, 400)
	}
	near("free pages in the buddy allocator", got.buddy, free, 400)
	for n, want := range nodes {
		near("free pages of node "+strconv.Itoa(n), got.byNode[n], want, 400)
	}
	near("slab pages", got.slab, slabPages(facts), 100)
	near("page tables", got.tables, meminfo(facts, "PageTables")/4, 30)
}

// slabPages adds up /proc/slabinfo. Slab in /proc/meminfo has more: what kmalloc
// takes right from the page allocator.
func slabPages(facts *truth.Truth) (pages uint64) {
	for line := range strings.Lines(facts.Late["/proc/slabinfo"]) {
		f := strings.Fields(line)
		if len(f) < 16 || f[0] == "#" {
			continue
		}
		perSlab, _ := strconv.ParseUint(f[5], 10, 64)
		slabs, _ := strconv.ParseUint(f[14], 10, 64)
		pages += perSlab * slabs
	}
	return pages
}

func meminfo(facts *truth.Truth, name string) uint64 {
	for line := range strings.Lines(facts.Late["/proc/meminfo"]) {
		f := strings.Fields(line)
		if f[0] == name+":" {
			v, _ := strconv.ParseUint(f[1], 10, 64)
			return v
		}
	}
	return 0
}

// An address of a struct page leads back to its page frame, and no other does.
func TestPFN(t *testing.T) {
	m := open(t, kerneltest.MainFS(t).Kernel())
	spans := m.Spans()
	for _, pfn := range []uint64{spans[0].First, 1, 0x1234, spans[len(spans)-1].End - 1} {
		addr, ok := m.Addr(pfn)
		if !ok {
			t.Fatalf("PFN %#x has no struct page", pfn)
		}
		if got, ok := m.PFN(addr); !ok || got != pfn {
			t.Errorf("%#x: PFN %#x, %v", addr, got, ok)
		}
		if _, ok := m.PFN(addr + 8); ok {
			t.Errorf("%#x is taken for the start of a struct page", addr+8)
		}
		if got, ok := m.Containing(addr + 8); !ok || got != pfn {
			t.Errorf("%#x lies in that of PFN %#x, %v", addr+8, got, ok)
		}
	}
	last := spans[len(spans)-1].End
	if _, ok := m.Addr(last); ok {
		t.Errorf("PFN %#x has a struct page", last)
	}
	if _, ok := m.PFN(0xffff888000000000); ok {
		t.Error("an address of the direct mapping is taken for a struct page")
	}
	if _, err := m.Page(last); err == nil {
		t.Error("a page behind the last one is read")
	}
}

// The kernel's text is reserved, and a flag's name is that of its bit.
func TestFlags(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	m := open(t, k)
	text, err := k.Symbol("_text")
	if err != nil {
		t.Fatal(err)
	}
	phys, _, err := k.Translate(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Page(phys / k.PageSize())
	if err != nil {
		t.Fatal(err)
	}
	if names := m.FlagNames(&p); !slices.Equal(names, []string{"reserved"}) || m.TypeName(&p) != "" || p.Refcount != 1 {
		t.Errorf("the page of _text: flags %q, type %q, count %d", names, m.TypeName(&p), p.Refcount)
	}
	if _, ok := m.Flag("PG_nonsense"); ok {
		t.Error("there is a PG_nonsense")
	}
}
