package slab_test

import (
	"errors"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/slab"
)

// record is where a kernel keeps the address of a slab's charges; empty where it does
// not.
func record(l *synthetic.Layout) (tag, member string) {
	for _, one := range [][2]string{{"slab", "obj_exts"}, {"slab", "memcg_data"}, {"page", "memcg_data"}, {"page", "obj_cgroups"}} {
		if l.Has(one[0], one[1]) {
			return one[0], one[1]
		}
	}
	return "", ""
}

// TestCharges: in the form of each release every other object is charged to a planted
// memory cgroup; where there is no record, or a wrong one, that is said.
func TestCharges(t *testing.T) {
	told := 0
	for _, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			plan, used, _ := scene(l, 1)
			array := plan.Kmalloc(8192)
			tag, member := record(l)
			var objcg synthetic.Object
			if member != "" {
				objcg = plan.Alloc("obj_cgroup").Set("memcg", 0xffff888000123400)
			}
			d := plan.Dump()
			source := info(t, plan)
			read := func() (slab.Object, *slab.Charges, error) {
				s := open(t, openDump(t, d, source))
				o, ok, err := s.ObjectAt(used[0])
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				c, err := s.NewCharges()
				if err == nil {
					c.Load(&o.Slab)
				}
				return o, c, err
			}
			o, c, err := read()
			if member == "" {
				if !errors.Is(err, slab.ErrNoCharges) {
					t.Errorf("no record: %v", err)
				}
				return
			}
			told++
			if memcg, ok := c.Memcg(o.Index); err != nil || memcg != 0 || !ok {
				t.Errorf("without an array: %#x, %v, %v", memcg, ok, err)
			}
			phys := o.Slab.PFN << 12
			stride := uint64(8)
			if l.Has("slab", "stride") {
				stride = 16
				plan.SetPage(phys, "slab", "stride", stride)
			}
			for i := 0; i < o.Slab.Objects; i += 2 {
				d.PutUint64(array+uint64(i)*stride, objcg.Addr)
			}
			plan.SetPage(phys, tag, member, array|1)
			o, c, _ = read()
			for i := range o.Slab.Objects {
				want := uint64(0)
				if i%2 == 0 {
					want = 0xffff888000123400
				}
				if memcg, ok := c.Memcg(i); memcg != want || !ok {
					t.Errorf("object %d: %#x, %v", i, memcg, ok)
				}
			}
			// No flag: not an array. An address that is nowhere. A wrong stride.
			for _, bad := range []uint64{array, 0xffffdead00000001} {
				plan.SetPage(phys, tag, member, bad)
				if o, c, _ = read(); unsaid(c, o.Index) {
					t.Errorf("a record of %#x: %+v", bad, c.Coverage)
				}
			}
			if l.Has("slab", "stride") {
				plan.SetPage(phys, tag, member, array|1)
				plan.SetPage(phys, "slab", "stride", 1<<30)
				if o, c, _ = read(); unsaid(c, o.Index) {
					t.Errorf("a wrong stride: %+v", c.Coverage)
				}
			}
		})
	}
	if told < 5 {
		t.Errorf("%d releases have records", told)
	}
}

// unsaid tells whether an unreadable record went unsaid.
func unsaid(c *slab.Charges, i int) bool {
	_, ok := c.Memcg(i)
	return ok || c.Coverage.Complete()
}
