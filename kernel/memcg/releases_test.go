package memcg_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/memcg"
)

// The members of struct cgroup that lead to its children and its name (include/linux/cgroup.h
// of 2.6.32 and 3.10), which the layouts of these releases are without. Where they lie is
// made up.
const (
	oldCgroup = `struct cgroup 192
0 8 flags unsigned long
16 16 sibling struct list_head
32 16 children struct list_head
48 8 parent struct cgroup *
56 8 dentry struct dentry *
64 64 subsys struct cgroup_subsys_state * [8]
128 8 root struct cgroupfs_root *
`
	namedCgroup = oldCgroup + `136 8 name struct cgroup_name *
struct cgroup_name 24
0 16 rcu_head struct callback_head
16 1 name char [1]
`
)

// planted is a memory cgroup that a test made.
type planted struct {
	mem, cgroup, node synthetic.Object
	children          []*planted
	gone              bool
}

// tree plants memory cgroups.
type tree struct {
	*synthetic.Kernel
	controller int // the index of the memory controller in the older cgroups' arrays
}

func (k *tree) add(above *planted, name string) *planted {
	g := &planted{mem: k.Alloc("mem_cgroup"), cgroup: k.Alloc("cgroup")}
	g.mem.Set("css.cgroup", g.cgroup.Addr)
	if g.mem.Has("css.flags") {
		g.mem.Set("css.flags", 2) // CSS_ONLINE
	}
	if g.mem.Has("kmemcg_id") {
		g.mem.Set("kmemcg_id", uint64(uint32(0xffffffff)))
	}
	switch {
	case g.cgroup.Has("kn"):
		g.node = k.Alloc("kernfs_node").Set("name", k.String(name))
		g.cgroup.Set("kn", g.node.Addr)
		if above != nil {
			g.node.SetAny(above.node.Addr, "parent", "__parent")
		}
	case g.cgroup.Has("name"):
		text := k.Alloc("cgroup_name")
		k.Write(text.At("name"), append([]byte(name), 0))
		g.cgroup.Set("name", text.Addr)
	default:
		g.cgroup.Set("dentry", k.Alloc("dentry").Set("d_name.name", k.String(name)).Addr)
	}
	if !g.cgroup.Has("kn") {
		k.PutUint64(g.cgroup.At("subsys")+8*uint64(k.controller), g.mem.Addr)
		if above != nil {
			g.cgroup.Set("parent", above.cgroup.Addr)
		}
	}
	if above != nil {
		above.children = append(above.children, g)
	}
	return g
}

// link writes the lists of children.
func (k *tree) link(g *planted) {
	head := func(g *planted) (children, sibling uint64) {
		if g.mem.Has("css.children") {
			return g.mem.At("css.children"), g.mem.At("css.sibling")
		}
		return g.cgroup.At("children"), g.cgroup.At("sibling")
	}
	first, _ := head(g)
	ring := []uint64{first}
	for _, c := range g.children {
		_, sibling := head(c)
		ring = append(ring, sibling)
		k.link(c)
	}
	for i, at := range ring {
		k.PutUint64(at, ring[(i+1)%len(ring)])
		k.PutUint64(at+8, ring[(i+len(ring)-1)%len(ring)])
	}
}

// charge writes a counter, in bytes; limit 0 is the kernel's greatest.
func (g *planted) charge(member string, usage, limit, peak, failed uint64) {
	unit := uint64(4096)
	if member == "res" {
		unit = 1
	}
	if limit == 0 {
		limit = 1<<63 - 1
	}
	g.mem.SetAny(usage/unit, member+".usage.counter", member+".count.counter", member+".usage")
	g.mem.SetAny(limit/unit, member+".max", member+".limit")
	g.mem.SetAny(peak/unit, member+".watermark", member+".max_usage")
	g.mem.Set(member+".failcnt", failed)
}

// TestReleases: on the layout of each release that has memory cgroups their tree, paths,
// numbers and counters are those that were planted.
func TestReleases(t *testing.T) {
	for _, c := range []struct {
		layout *synthetic.Layout
		facts  string
	}{{synthetic.EL6(), oldCgroup}, {synthetic.EL7(), namedCgroup}, {synthetic.V5_10(), ""}, {synthetic.V6_1(), ""}, {synthetic.V6_12(), ""}, {synthetic.V6_18(), ""}, {synthetic.V7(), ""}} {
		t.Run(c.layout.Name, func(t *testing.T) {
			k := &tree{synthetic.New(c.layout.Extend(c.facts), synthetic.Machine{}), 5}
			root := k.add(nil, "")
			user := k.add(root, "user")
			system, alice, gone := k.add(root, "system"), k.add(user, "alice"), k.add(user, "gone")
			k.link(root)
			k.PutUint64(k.Var("root_mem_cgroup", "struct mem_cgroup *").Addr, root.mem.Addr)
			tells := gone.mem.Has("css.flags") && gone.mem.Has("css.children")
			if gone.gone = tells; tells {
				gone.mem.Set("css.flags", 1)
			}
			member := "memory"
			if !root.mem.Has(member) {
				member = "res"
			}
			root.charge(member, 3<<20, 0, 4<<20, 0)
			alice.charge(member, 1<<20, 1<<30, 2<<20, 7)
			if alice.mem.Has("kmemcg_id") {
				alice.mem.Set("kmemcg_id", 41)
			}
			check(t, k, map[string]*planted{"/": root, "/user": user, "/system": system, "/user/alice": alice, "/user/gone": gone})
		})
	}
}

func check(t *testing.T, k *tree, want map[string]*planted) {
	t.Helper()
	r, groups := open(t, kerneltest.Synthetic(t, k))
	if len(groups) != len(want) {
		t.Errorf("%d groups, planted %d", len(groups), len(want))
	}
	for path, p := range want {
		g := groups[path]
		if g == nil || g.Addr != p.mem.Addr || g.Cgroup != p.cgroup.Addr || g.Offline != p.gone {
			t.Errorf("%s: %+v, planted %+v", path, g, p)
		}
	}
	if t.Failed() {
		return
	}
	for path, counter := range map[string]memcg.Counter{
		"/": {Usage: 3 << 20, Peak: 4 << 20}, "/user/alice": {Usage: 1 << 20, Max: 1 << 30, Peak: 2 << 20, Failed: 7},
	} {
		if c, errs := r.Counters(groups[path]); c.Memory != counter || len(errs) > 0 {
			t.Errorf("%s: %+v, planted %+v; %v", path, c.Memory, counter, errs)
		}
	}
	for path, id := range map[string]int{"/": -1, "/user/alice": 41} {
		got, err := r.ID(groups[path].Addr)
		if has := want[path].mem.Has("kmemcg_id"); (err == nil) != has || has && got != id {
			t.Errorf("%s: number %d, planted %d; %v", path, got, id, err)
		}
	}
}
