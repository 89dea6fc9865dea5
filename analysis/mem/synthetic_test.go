package mem_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// On the layout of each release counters, swap, huge pages and vmalloc areas are those
// of the plan, whether zones count them or nodes.
func TestReleases(t *testing.T) {
	for i, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			plan := synthetic.New(l, synthetic.Machine{MemMap: true, RAM: 48 << 20, Nodes: 1 + i%2})
			root := plan.SuperBlock("ext4", "sda1")
			swap := plan.Swap(plan.Dentry(root.Root, "swapfile"), -2, 5000, 1200)
			plan.HugePages(synthetic.HugePages{Order: 9, Total: 4, Free: 1, Reserved: 1})
			plan.SetStat("NR_FILE_PAGES", 1000)
			plan.SetStat("NR_SHMEM", 300)
			plan.SetStat("NR_FILE_DIRTY", 20)
			plan.SetStat("NR_PAGETABLE", 77)
			anon := "NR_ANON_MAPPED"
			if !plan.HasStat(anon) {
				anon = "NR_ANON_PAGES"
			}
			plan.SetStat(anon, 555)
			plan.Vmalloc(10 * 4096)
			fs := kerneltest.SyntheticFS(t, plan)
			r := analyze(t, fs)
			m := r.Info
			slabs, free := uint64(0), uint64(0)
			for _, c := range plan.Caches() {
				slabs += uint64(len(c.Slabs)) << c.Order * 4096
			}
			for _, b := range plan.FreeBlocks() {
				free += 4096 << b.Order
			}
			for name, c := range map[string][2]uint64{
				"MemTotal": {m.MemTotal, 48 << 20}, "MemFree": {m.MemFree, free}, "Cached": {m.Cached, 1000 * 4096},
				"Shmem": {*m.Shmem, 300 * 4096}, "Dirty": {*m.Dirty, 20 * 4096}, "PageTables": {*m.PageTables, 77 * 4096},
				"AnonPages": {*m.AnonPages, 555 * 4096}, "Slab": {m.Slab, slabs}, "Hugetlb": {m.Hugetlb, 8 << 20},
				"SwapTotal": {m.SwapTotal, 5000 * 4096}, "SwapFree": {m.SwapFree, 3800 * 4096},
			} {
				if c[0] != c[1] {
					t.Errorf("%s: %d, planned %d", name, c[0], c[1])
				}
			}
			if len(r.Swap) != 1 || r.Swap[0].Used != 1200*4096 || r.Swap[0].Path != "/swapfile" || r.Swap[0].Priority != -2 ||
				uint64(r.Swap[0].Addr) != swap.Addr || len(r.Huge) != 1 || r.Huge[0].Free != 1 {
				t.Errorf("%+v, %+v", r.Swap, r.Huge)
			}
			var want, got struct{ areas, pages uint64 }
			for _, a := range plan.VmapAreas() {
				want.areas += a.Size
				want.pages += uint64(a.Pages) * 4096
			}
			for _, c := range r.Vmalloc {
				got.areas += c.Bytes
				got.pages += c.Memory
			}
			if got != want || want.pages == 0 {
				t.Errorf("%+v bytes of vmalloc areas, planned %+v: %+v", got, want, r.Vmalloc)
			}
		})
	}
}
