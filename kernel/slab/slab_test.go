package slab_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
)

func open(t testing.TB, k *kernel.Kernel) *slab.Allocations {
	t.Helper()
	m, err := page.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	s, err := slab.Open(k, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Broken(); err != nil {
		t.Fatal(err)
	}
	return s
}

// tally is what a sweep over all slabs finds of one cache.
type tally struct{ live, slabs, objects int }

// sweep decodes every object of every slab.
func sweep(t testing.TB, s *slab.Allocations) (map[*slab.Cache]tally, []error) {
	t.Helper()
	found := make(map[*slab.Cache]tally)
	var errs []error
	d := s.NewDecoder()
	spans := s.Pages().Spans()
	for sl, err := range s.Walk(0, spans[len(spans)-1].End) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		mem, err := s.Read(&sl)
		if loadErr := d.Load(&sl, mem); err == nil {
			err = loadErr
		}
		if err != nil {
			errs = append(errs, err)
		}
		c := found[sl.Cache]
		c.slabs++
		c.objects += sl.Objects
		for i := range sl.Objects {
			if !d.IsFree(i) {
				c.live++
			}
		}
		found[sl.Cache] = c
	}
	return found, errs
}

// recordedSlab is what drgn says of a cache.
type recordedSlab struct {
	Cache      string `json:"cache"`
	Name       string `json:"name"`
	Size       int    `json:"size"`
	ObjectSize int    `json:"object_size"`
	Flags      string `json:"flags"`
	Refcount   int    `json:"refcount"`
	Objects    *int   `json:"objects"`
}

func bootKernel(t testing.TB, boot string) *kernel.Kernel {
	t.Helper()
	if boot == "main" {
		return kerneltest.MainFS(t).Kernel()
	}
	return kerneltest.FS(t, fixtures.Unpacked(t, boot+"/vmcore.kdump")).Kernel()
}

// The caches and their live objects are those that drgn's walk of the free lists
// finds; the slabs and objects in all those of /proc/slabinfo a moment earlier.
func TestGuest(t *testing.T) {
	for _, boot := range []string{"main", "kdump"} {
		t.Run(boot, func(t *testing.T) {
			s := open(t, bootKernel(t, boot))
			if s.Kind() != slab.SLUB {
				t.Fatalf("allocator %s", s.Kind())
			}
			found, errs := sweep(t, s)
			for _, err := range errs {
				t.Error(err)
			}
			var drgn struct{ Slabs []recordedSlab }
			fixtures.Recorded(t, boot+"/drgn.json", &drgn)
			if len(drgn.Slabs) != len(s.Caches()) || len(drgn.Slabs) < 100 {
				t.Errorf("%d caches, drgn has %d", len(s.Caches()), len(drgn.Slabs))
			}
			for _, want := range drgn.Slabs {
				compare(t, s, found, want)
			}
			compareSlabinfo(t, s, found, fixtures.Truth(t, boot).Late["/proc/slabinfo"])
		})
	}
}

func compare(t *testing.T, s *slab.Allocations, found map[*slab.Cache]tally, want recordedSlab) {
	t.Helper()
	addr, _ := strconv.ParseUint(want.Cache, 16, 64)
	c, err := s.ByAddr(addr)
	if err != nil {
		t.Error(err)
		return
	}
	if c.Name != want.Name || c.Size != want.Size || c.ObjectSize != want.ObjectSize || c.Refcount != want.Refcount ||
		strconv.FormatUint(c.Flags, 16) != want.Flags {
		t.Errorf("%s: size %d, object size %d, %d users, flags %#x, drgn has %+v", c.Name, c.Size, c.ObjectSize, c.Refcount, c.Flags, want)
	}
	if want.Objects != nil && found[c].live != *want.Objects {
		t.Errorf("%s: %d live objects, drgn finds %d", c.Name, found[c].live, *want.Objects)
	}
}

// compareSlabinfo compares slabs and objects. Caches that grew or shrank in the
// second between are allowed a few slabs.
func compareSlabinfo(t *testing.T, s *slab.Allocations, found map[*slab.Cache]tally, text string) {
	t.Helper()
	compared := 0
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		c, err := s.ByName(f[0])
		if err != nil || len(f) < 15 {
			continue
		}
		slabs, _ := strconv.Atoi(f[14])
		perSlab, _ := strconv.Atoi(f[4])
		objects, _ := strconv.Atoi(f[2])
		got := found[c]
		if compared++; c.PerSlab != perSlab || abs(got.slabs-slabs) > 3+slabs/20 || abs(got.objects-objects) > perSlab*(3+slabs/20) {
			t.Errorf("%s: %d slabs of %d, %d objects; the guest says %d of %d, %d", c.Name, got.slabs, c.PerSlab, got.objects, slabs, perSlab, objects)
		}
		active, _ := strconv.Atoi(f[1])
		if got.live > active+perSlab*(3+slabs/20) {
			t.Errorf("%s: %d live objects, the guest says %d", c.Name, got.live, active)
		}
	}
	if compared < 100 {
		t.Errorf("only %d caches compared", compared)
	}
}

func abs(n int) int { return max(n, -n) }

// The module's own objects are live, at the address it says, in the cache it says.
func TestPlantedObjects(t *testing.T) {
	plant := fixtures.Truth(t, "main").Plant
	s := open(t, bootKernel(t, "main"))
	caches := make(map[string]uint64)
	for _, c := range plant.Caches {
		caches[c.Alias], _ = strconv.ParseUint(c.Cache, 16, 64)
	}
	for _, o := range []struct{ addr, cache string }{
		{plant.Objects.LeakFirst, "mortem_leak"}, {plant.Objects.LeakLast, "mortem_leak"},
		{plant.Objects.MateLast, "mortem_mate"}, {plant.Objects.TracedLostFirst, "mortem_traced"},
	} {
		addr, _ := strconv.ParseUint(o.addr, 16, 64)
		got, ok, err := s.ObjectAt(addr + 5)
		if err != nil || !ok || got.Doubt != nil {
			t.Errorf("%s: %v, %v, %v", o.addr, ok, err, got.Doubt)
			continue
		}
		if got.Slab.Cache.Addr != caches[o.cache] || got.Free || got.Addr != addr || got.Offset != 5 {
			t.Errorf("%s of %s: %+v in %s", o.addr, o.cache, got, got.Slab.Cache.Name)
		}
	}
	if _, ok, err := s.ObjectAt(0xffffffff81000000); ok || err != nil {
		t.Errorf("the kernel's text is a slab object: %v, %v", ok, err)
	}
}
