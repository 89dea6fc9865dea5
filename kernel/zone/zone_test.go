package zone_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/zone"
)

func open(t testing.TB, k *kernel.Kernel) (*zone.Reader, []zone.Node) {
	t.Helper()
	r, err := zone.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	nodes, errs := r.Nodes()
	for _, err := range errs {
		t.Error(err)
	}
	return r, nodes
}

// zoneinfo reads /proc/zoneinfo: of each zone its sizes and counters, by name.
func zoneinfo(text string) map[string]map[string]int64 {
	zones := make(map[string]map[string]int64)
	var cur map[string]int64
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) >= 4 && f[0] == "Node" {
			cur = make(map[string]int64)
			zones[strings.TrimSuffix(f[1], ",")+" "+f[3]] = cur
			continue
		}
		if len(f) > 2 && f[0] == "pages" {
			f = f[1:]
		}
		if len(f) == 2 && cur != nil {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				if _, seen := cur[f[0]]; !seen {
					cur[f[0]] = n
				}
			}
		}
	}
	return zones
}

// Sizes and watermarks are exactly those of /proc/zoneinfo, counters nearly.
func TestZoneinfo(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	r, nodes := open(t, k)
	want := zoneinfo(fixtures.Truth(t, "main").Late["/proc/zoneinfo"])
	compared := 0
	for i := range nodes {
		for j := range nodes[i].Zones {
			z := &nodes[i].Zones[j]
			w := want[fmt.Sprintf("%d %s", nodes[i].ID, z.Name)]
			if w == nil || w["managed"] == 0 {
				continue
			}
			compared++
			for name, got := range map[string]uint64{"spanned": z.Spanned, "present": z.Present, "managed": z.Managed,
				"min": z.Watermarks[0], "low": z.Watermarks[1], "high": z.Watermarks[2], "boost": z.Boost} {
				if got != uint64(w[name]) {
					t.Errorf("node %d zone %s: %s is %d, the guest says %d", nodes[i].ID, z.Name, name, got, w[name])
				}
			}
			free, ok := r.OfZone(z, "NR_FREE_PAGES")
			if !ok || near(free, w["nr_free_pages"], 400) || near(int64(z.FreePages()), free, 0) || len(z.CPUs) != 4 {
				t.Errorf("node %d zone %s: %d free, %d in blocks, %d CPUs; the guest says %d", nodes[i].ID, z.Name, free, z.FreePages(), len(z.CPUs), w["nr_free_pages"])
			}
		}
	}
	if compared != 3 {
		t.Errorf("%d zones compared", compared)
	}
}

// near tells whether two numbers differ by more than some slack.
func near(a, b, slack int64) bool { return a-b > slack || b-a > slack }

// On the layout of each release nodes, zones and free blocks are those of the plan.
func TestReleases(t *testing.T) {
	for i, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			plan := synthetic.New(l, synthetic.Machine{MemMap: true, RAM: 48 << 20, Nodes: 1 + i%2, NoNUMA: i%3 == 0 && i%2 == 0})
			plan.SetStat("NR_FILE_PAGES", 1234)
			k := kerneltest.Synthetic(t, plan)
			r, nodes := open(t, k)
			if len(nodes) != plan.Machine.Nodes {
				t.Errorf("%d nodes, planned %d", len(nodes), plan.Machine.Nodes)
			}
			blocks := make(map[string]uint64)
			for _, b := range plan.FreeBlocks() {
				blocks[fmt.Sprintf("%d %s %d", b.Node, b.Zone, b.Order)]++
			}
			total, pages := uint64(0), uint64(0)
			for i := range nodes {
				for _, z := range nodes[i].Zones {
					pages += z.Present
					for order, n := range z.Free {
						if want := blocks[fmt.Sprintf("%d %s %d", z.Node, z.Name, order)]; n != want {
							t.Errorf("node %d zone %s order %d: %d blocks, planned %d", z.Node, z.Name, order, n, want)
						}
						total += n
					}
					free, _ := r.OfZone(&z, "NR_FREE_PAGES")
					if uint64(free) != z.FreePages() {
						t.Errorf("zone %s: %d pages free, %d in blocks", z.Name, free, z.FreePages())
					}
				}
			}
			if n, ok := r.Total(nodes, "NR_FILE_PAGES"); !ok || n != 1234 || total == 0 || pages != plan.Machine.RAM/4096 {
				t.Errorf("%d pages of files, %d free blocks, %d pages", n, total, pages)
			}
		})
	}
}

func Example() {
	k := kerneltest.ExampleKernel()
	r, err := zone.Open(k)
	if err != nil {
		panic(err)
	}
	nodes, _ := r.Nodes()
	for _, n := range nodes {
		for _, z := range n.Zones {
			if z.Managed > 0 {
				fmt.Println(n.ID, z.Name, z.Managed, z.Watermarks[:3])
			}
		}
	}
	// Output:
	// 0 DMA 3840 [21 26 31]
	// 0 DMA32 60330 [345 431 517]
	// 1 DMA32 58966 [330 412 494]
}
