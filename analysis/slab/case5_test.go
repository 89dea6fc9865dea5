package slab_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/analysis/slab"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// openPlan opens the kernel of a synthetic dump.
func openPlan(t testing.TB, plan *synthetic.Kernel, d *synthetic.Dump) *kernel.Kernel {
	t.Helper()
	image, err := d.Open()
	return kerneltest.SyntheticIn(t, plan, image, err)
}

// The cache that slabtop blames is shared: its other name and the member that points to it
// lead to IPv6, and its objects are routes with one reference each and in no list.
func TestCase5(t *testing.T) {
	plan := synthetic.NewCase5(1900)
	s := open(t, openPlan(t, plan.Kernel, plan.Dump()))
	r := analyze(t, s, slab.Options{Sort: "live", Top: 1})
	c := r.Caches[0]
	if c.Name != "pool_workqueue" || !slices.Equal(c.Aliases, []string{"ip6_dst_cache"}) || c.Live != uint64(len(plan.Routes)+len(plan.Works)) {
		t.Errorf("%+v", c)
	}
	for _, want := range []string{"init_net.ipv6.ip6_dst_ops.kmem_cachep", "pwq_cache"} {
		if !slices.ContainsFunc(c.References, func(f slab.Reference) bool { return f.Symbol == want }) {
			t.Errorf("%s is not among %+v", want, c.References)
		}
	}
	cache, err := slab.Find(s, "ip6_dst_cache")
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := slab.Kinds(context.Background(), s, cache, slab.KindOptions{})
	if err != nil || len(kinds.Kinds) != 2 {
		t.Fatalf("%v, %+v", err, kinds)
	}
	routes, works := kinds.Kinds[0], kinds.Kinds[1]
	if !slices.Equal(routes.Types, []string{"struct rt6_info"}) || routes.Count != uint64(len(plan.Routes)) || routes.Share != 0.95 ||
		!slices.Equal(works.Types, []string{"struct pool_workqueue"}) || works.Count != uint64(len(plan.Works)) {
		t.Errorf("%+v", kinds.Kinds)
	}
	if !slices.Contains(routes.Counts, slab.CountMember{Member: "dst.__refcnt", Value: 1, Share: 1}) ||
		!slices.Equal(routes.Lists, []slab.ListMember{{Member: "rt6i_uncached"}}) {
		t.Errorf("counts %+v, lists %+v", routes.Counts, routes.Lists)
	}
	if !slices.Contains(works.Lists, slab.ListMember{Member: "pwqs_node", Linked: 1}) {
		t.Errorf("lists %+v", works.Lists)
	}
}

// A list of free objects that was overwritten is named, and the count is bounded.
func TestDamage(t *testing.T) {
	plan := synthetic.NewCase5(1900)
	d := plan.Dump()
	victim := poisonFree(plan.Kernel, d)
	r := analyze(t, open(t, openPlan(t, plan.Kernel, d)), slab.Options{Verify: true})
	if r.Coverage.Corrupt == 0 || len(r.Coverage.Problems) == 0 || !strings.Contains(r.Coverage.Problems[0], "of cache "+victim) {
		t.Errorf("%+v", r.Coverage)
	}
	if !slices.ContainsFunc(r.Findings, func(f finding.Finding) bool { return f.ID == "slab.damaged" }) {
		t.Errorf("%+v", r.Findings)
	}
	for _, c := range r.Caches {
		if c.Name == "pool_workqueue" && (c.Damaged != 0 || c.Live != uint64(len(plan.Routes)+len(plan.Works))) ||
			c.Name == victim && (c.Damaged == 0 || c.Live > c.Objects) {
			t.Errorf("%+v", c)
		}
	}
}

// poisonFree overwrites the free objects of a slab that has some, and tells of which
// cache.
func poisonFree(plan *synthetic.Kernel, d *synthetic.Dump) string {
	for _, c := range plan.Caches() {
		for _, s := range c.Slabs {
			if c.Name == "pool_workqueue" || c.PerSlab < 8 || slices.Index(s.Used, false) < 0 {
				continue
			}
			for i, used := range s.Used {
				if !used {
					d.Poison(c.Object(s, i), int(c.Size))
				}
			}
			return c.Name
		}
	}
	return "none"
}
