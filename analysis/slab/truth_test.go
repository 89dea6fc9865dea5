package slab_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/slab"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
	kslab "github.com/kmortem/mortem/kernel/slab"
)

func open(t testing.TB, k *kernel.Kernel) *kslab.Allocations {
	t.Helper()
	s, err := slab.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func analyze(t testing.TB, s *kslab.Allocations, opt slab.Options) *slab.Report {
	t.Helper()
	r, err := slab.Analyze(context.Background(), s, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func hex(t testing.TB, s string) kernel.Addr {
	t.Helper()
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kernel.Addr(n)
}

func main(t testing.TB) *kernel.Kernel {
	t.Helper()
	k := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	if _, err := module.Attach(k); err != nil {
		t.Fatal(err)
	}
	return k
}

// By counters and by following each list, live objects are those of drgn's walk, and
// their names are the guest's, aliases included.
func TestGuest(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	var drgn struct {
		Slabs []struct {
			Cache, Name string
			Objects     uint64
		}
	}
	fixtures.Recorded(t, "main/drgn.json", &drgn)
	s := open(t, main(t))
	for _, verify := range []bool{false, true} {
		r := analyze(t, s, slab.Options{Verify: verify})
		if !r.Coverage.Complete() || r.Allocator != "SLUB" || r.Orphans != 0 || len(r.Caches) != len(drgn.Slabs) {
			t.Errorf("verify %v: %s, %d caches, %d orphans, %+v", verify, r.Allocator, len(r.Caches), r.Orphans, r.Coverage)
		}
		byAddr := make(map[kernel.Addr]*slab.Cache)
		for i := range r.Caches {
			byAddr[r.Caches[i].Addr] = &r.Caches[i]
		}
		for _, want := range drgn.Slabs {
			if c := byAddr[hex(t, want.Cache)]; c == nil || c.Live != want.Objects || c.Name != want.Name {
				t.Errorf("verify %v: %s: %+v, drgn has %d", verify, want.Name, c, want.Objects)
			}
		}
		checkSums(t, r)
		checkAliases(t, r, guest.SlabAliases)
	}
}

// checkSums: nodes add up to the cache, caches to the whole.
func checkSums(t *testing.T, r *slab.Report) {
	t.Helper()
	var live, bytes uint64
	for _, c := range r.Caches {
		live, bytes = live+c.Live, bytes+c.Bytes
		var slabs, objects uint64
		for _, n := range c.Nodes {
			slabs, objects = slabs+n.Slabs, objects+n.Objects
		}
		if slabs != c.Slabs || objects != c.Objects || c.Live > c.Objects {
			t.Errorf("%s: %d slabs and %d objects on the nodes, %d and %d in all", c.Name, slabs, objects, c.Slabs, c.Objects)
		}
	}
	if live != r.Live || bytes != r.Bytes {
		t.Errorf("%d live, %d bytes; in all %d, %d", live, bytes, r.Live, r.Bytes)
	}
}

// checkAliases: a directory of sysfs called :… stands for a merged cache; its aliases are
// the links that lead there, less the cache's own name.
func checkAliases(t *testing.T, r *slab.Report, links map[string]string) {
	t.Helper()
	of := make(map[string][]string)
	for name, target := range links {
		of[target] = append(of[target], name)
	}
	found := 0
	for _, c := range r.Caches {
		for _, names := range of {
			if !slices.Contains(names, c.Name) {
				continue
			}
			found++
			for _, name := range names {
				if name != c.Name && !slices.Contains(c.Aliases, name) {
					t.Errorf("%s has no alias %s: %q", c.Name, name, c.Aliases)
				}
			}
			if len(c.Aliases) != len(names)-1 {
				t.Errorf("%s has %q, the guest %q", c.Name, c.Aliases, names)
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d caches have links", found)
	}
}

// The module's merged cache: its other name leads to it, the module's variable and
// other variables point to it, and its objects are those that were leaked.
func TestMergedCache(t *testing.T) {
	plant := fixtures.Truth(t, "main").Plant
	k := main(t)
	s := open(t, k)
	r := analyze(t, s, slab.Options{Caches: []string{"mortem_leak"}, References: true})
	if len(r.Caches) != 1 {
		t.Fatalf("%d caches", len(r.Caches))
	}
	c := r.Caches[0]
	if c.Addr != hex(t, plant.Caches[0].Cache) || !slices.Contains(append(c.Aliases, c.Name), "mortem_mate") ||
		c.Live < uint64(plant.Objects.Leaks+plant.Objects.Mates) {
		t.Errorf("%+v", c)
	}
	pointer := hex(t, plant.Objects.LeakCachePointer)
	if !slices.ContainsFunc(c.References, func(f slab.Reference) bool {
		return f.Addr == pointer && strings.Contains(f.Symbol, "[mortem_plant]")
	}) {
		t.Errorf("nothing says that %s points there: %+v", pointer, c.References)
	}
	cache, err := slab.Find(s, "mortem_mate")
	if err != nil {
		t.Fatal(err)
	}
	list, err := slab.ListObjects(context.Background(), s, cache, slab.ObjectOptions{})
	if err != nil || uint64(len(list.Objects)) != c.Live || !list.Coverage.Complete() {
		t.Fatalf("%d objects, %v; %d live", len(list.Objects), err, c.Live)
	}
	for _, want := range []string{plant.Objects.LeakFirst, plant.Objects.LeakLast, plant.Objects.MateLast} {
		if !slices.ContainsFunc(list.Objects, func(o slab.Object) bool { return o.Addr == hex(t, want) }) {
			t.Errorf("%s is not among the objects", want)
		}
	}
	short, err := slab.ListObjects(context.Background(), s, cache, slab.ObjectOptions{Limit: 5})
	if err != nil || len(short.Objects) != 5 || !short.More {
		t.Errorf("%d of 5 objects, more %v, %v", len(short.Objects), short.More, err)
	}
}

// The kernel's own variables name the member that points to a cache.
func TestReferences(t *testing.T) {
	r := analyze(t, open(t, main(t)), slab.Options{Caches: []string{"dentry"}})
	if !slices.ContainsFunc(r.Caches[0].References, func(f slab.Reference) bool { return f.Symbol == "dentry_cache" }) {
		t.Errorf("%+v", r.Caches[0].References)
	}
	r = analyze(t, open(t, main(t)), slab.Options{Caches: []string{"TCPv6"}})
	if !slices.ContainsFunc(r.Caches[0].References, func(f slab.Reference) bool { return f.Symbol == "tcpv6_prot.slab" }) {
		t.Errorf("%+v", r.Caches[0].References)
	}
}

// Every network namespace points to the cache of IPv6 routes, as its type says.
func TestObjectReferences(t *testing.T) {
	s := open(t, main(t))
	nets, err := slab.Find(s, "net_namespace")
	if err != nil {
		t.Fatal(err)
	}
	list, err := slab.ListObjects(context.Background(), s, nets, slab.ObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r := analyze(t, s, slab.Options{Caches: []string{"ip6_dst_cache"}, References: true})
	for _, f := range r.Caches[0].References {
		if strings.HasSuffix(f.Object, "(struct net ipv6.ip6_dst_ops.kmem_cachep)") && int(f.Count) == len(list.Objects) {
			return
		}
	}
	t.Errorf("%d namespaces: %+v", len(list.Objects), r.Caches[0].References)
}

func TestOrder(t *testing.T) {
	s := open(t, main(t))
	for _, sort := range slab.Sorts() {
		r := analyze(t, s, slab.Options{Sort: sort, Top: 5})
		if len(r.Caches) != 5 || r.CachesAll < 100 {
			t.Errorf("%s: %d of %d caches", sort, len(r.Caches), r.CachesAll)
		}
	}
	r := analyze(t, s, slab.Options{Sort: "live", Top: 1})
	if r.Caches[0].Addr != hex(t, fixtures.Truth(t, "main").Plant.Caches[0].Cache) {
		t.Errorf("most objects are in %s", r.Caches[0].Name)
	}
	if _, err := slab.Analyze(context.Background(), s, slab.Options{Caches: []string{"nonsense"}}); err == nil {
		t.Error("a cache that is not there is found")
	}
}

func Example() {
	k := kerneltest.ExampleKernel()
	s, err := slab.Open(k)
	if err != nil {
		panic(err)
	}
	r, err := slab.Analyze(context.Background(), s, slab.Options{Caches: []string{"mortem_partial"}})
	if err != nil {
		panic(err)
	}
	c := r.Caches[0]
	fmt.Println(c.Name, c.Live, "live of", c.Objects, "in", c.Slabs, "slabs")
	// Output: mortem_partial 1000 live of 3000 in 125 slabs
}

// crash's kmem -s of the same dump: object sizes, slabs and objects are the same to the
// last one.
func TestCrash(t *testing.T) {
	text, err := os.ReadFile(fixtures.Unpacked(t, "main/crash.txt"))
	if err != nil {
		t.Fatal(err)
	}
	r := analyze(t, open(t, main(t)), slab.Options{})
	byAddr := make(map[kernel.Addr]*slab.Cache)
	for i := range r.Caches {
		byAddr[r.Caches[i].Addr] = &r.Caches[i]
	}
	compared := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 7 || len(f[0]) != 16 || !strings.HasSuffix(f[5], "k") {
			continue
		}
		var n [4]uint64 // object size, allocated, total, slabs
		for i := range n {
			if n[i], err = strconv.ParseUint(f[1+i], 10, 64); err != nil {
				break
			}
		}
		c := byAddr[hex(t, f[0])]
		if err != nil || c == nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		compared++
		if c.Name != f[6] || uint64(c.ObjectSize) != n[0] || c.Objects != n[2] || c.Slabs != n[3] || c.Live != n[1] {
			t.Errorf("%s: %d bytes, %d live of %d in %d slabs; crash has %s", c.Name, c.ObjectSize, c.Live, c.Objects, c.Slabs, line)
		}
	}
	if compared < 100 {
		t.Errorf("%d caches compared", compared)
	}
}
