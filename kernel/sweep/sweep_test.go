package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/sweep"
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
	return s
}

// catch is a consumer that keeps the addresses of live objects by cache.
type catch struct {
	mu     sync.Mutex
	live   map[uint64][]uint64 // by the address of the cache
	unread int
}

func (c *catch) consumer(caches ...*slab.Cache) sweep.Consumer {
	c.live = map[uint64][]uint64{}
	return sweep.Consumer{Caches: caches, Visit: func(_ int, s *sweep.Slab) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i := range s.Objects {
			switch b := s.Bytes(i); {
			case !s.Live(i):
			case b == nil:
				c.unread++
			default:
				c.live[s.Cache.Addr] = append(c.live[s.Cache.Addr], s.Object(i))
			}
		}
		return nil
	}}
}

// partlyUsed is a machine with a cache of objects that lie across pages, and others;
// every fourth object was freed.
func partlyUsed(l *synthetic.Layout, nodes int) (plan *synthetic.Kernel, used map[string][]uint64) {
	plan = synthetic.New(l, synthetic.Machine{MemMap: true, Full: true, RAM: 40 << 20, Nodes: nodes})
	used = map[string][]uint64{}
	for i := range 900 {
		for name, size := range map[string]uint64{"small": 192, "odd": 1160, "wide": 5000} {
			if name == "wide" && i >= 40 {
				continue
			}
			addr := plan.Cache(name, size).Alloc()
			plan.Write(addr, []byte(name))
			used[name] = append(used[name], addr)
		}
	}
	for name, all := range used {
		var left []uint64
		for i, addr := range all {
			if i%4 == 0 {
				plan.Free(addr)
			} else {
				left = append(left, addr)
			}
		}
		slices.Sort(left)
		used[name] = left
	}
	return plan, used
}

func openDump(t testing.TB, d *synthetic.Dump, source debuginfo.Source, codec ...dumpwriter.Codec) *slab.Allocations {
	t.Helper()
	image, err := d.Open(codec...)
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, source, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return open(t, k)
}

// TestReleases: on each release's layout and allocator the live objects are those
// of the plan, each once, also where objects and slabs span several pages, and
// several consumers are served by one sweep.
func TestReleases(t *testing.T) {
	for i, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			plan, used := partlyUsed(l, 1+i%2)
			source, err := plan.DebugInfo()
			if err != nil {
				t.Fatal(err)
			}
			var codec []dumpwriter.Codec
			if i%3 == 1 {
				codec = []dumpwriter.Codec{dumpwriter.LZO}
			}
			s := openDump(t, plan.Dump(), source, codec...)
			var caches []*slab.Cache
			for name := range used {
				c, err := s.ByName(name)
				if err != nil {
					t.Fatal(err)
				}
				caches = append(caches, c)
			}
			var all, one catch
			r, err := sweep.Run(t.Context(), s, []sweep.Consumer{all.consumer(caches...), one.consumer(caches[0])}, sweep.Options{Workers: 1 + i%3})
			if err != nil || !r.Coverage.Complete() || r.LostPages != 0 {
				t.Fatalf("%v, %+v", err, r)
			}
			total := uint64(0)
			for _, c := range r.Caches {
				got := all.live[c.Cache.Addr]
				slices.Sort(got)
				if want := used[c.Cache.Name]; !slices.Equal(got, want) || c.Live != uint64(len(want)) || c.Damaged+c.Unread != 0 {
					t.Errorf("%s: %d objects, planned %d; %+v", c.Cache.Name, len(got), len(want), c)
				}
				total += c.Live
			}
			if len(one.live) != 1 || len(one.live[caches[0].Addr]) != len(used[caches[0].Name]) || r.Coverage.Read != total {
				t.Errorf("the second consumer saw %d caches; %+v", len(one.live), r.Coverage)
			}
		})
	}
}

// TestWhatIsMissing: objects in pages that are not in the dump are counted and
// named, and the others of the same slab are handed out.
func TestWhatIsMissing(t *testing.T) {
	for _, l := range []*synthetic.Layout{synthetic.EL6(), synthetic.EL7(), synthetic.V6_12()} {
		plan, used := partlyUsed(l, 1)
		source, err := plan.DebugInfo()
		if err != nil {
			t.Fatal(err)
		}
		d := plan.Dump()
		// The second page of a slab whose objects are all in use but the freed ones.
		victim := used["odd"][len(used["odd"])/2]
		gone := victim &^ 4095
		d.Exclude(gone)
		s := openDump(t, d, source)
		c, err := s.ByName("odd")
		if err != nil {
			t.Fatal(err)
		}
		lost := 0
		for _, at := range used["odd"] {
			if at < gone+4096 && at+c1160 > gone {
				lost++
			}
		}
		var got catch
		r, err := sweep.Run(t.Context(), s, []sweep.Consumer{got.consumer(c)}, sweep.Options{})
		if err != nil {
			t.Fatal(err)
		}
		counts := r.Caches[0]
		if seen := len(got.live[c.Addr]); r.Coverage.Complete() || r.Coverage.Excluded == 0 || uint64(seen)+counts.Unread < counts.Live ||
			seen > len(used["odd"])-lost+c.PerSlab || int(counts.Live) > len(used["odd"])+c.PerSlab || len(r.Coverage.Problems) == 0 {
			t.Errorf("%s: %d objects seen, %d of %d lost; %+v, %+v", l.Name, seen, lost, len(used["odd"]), counts, r.Coverage)
		}
		if !strings.Contains(strings.Join(r.Coverage.Problems, "\n"), "odd") {
			t.Errorf("%s: %q", l.Name, r.Coverage.Problems)
		}
	}
}

const c1160 = 1160

// TestLostStructPages: page frames whose struct pages are not in the dump are
// counted: each may be a slab's.
func TestLostStructPages(t *testing.T) {
	k := kerneltest.MainFS(t).Kernel()
	sound := open(t, k)
	c, err := sound.ByName("dentry")
	if err != nil {
		t.Fatal(err)
	}
	var before, after catch
	if _, err := sweep.Run(t.Context(), sound, []sweep.Consumer{before.consumer(c)}, sweep.Options{}); err != nil {
		t.Fatal(err)
	}
	base, ok := k.PageOffset()
	if !ok {
		t.Fatal("no direct mapping")
	}
	at, ok := sound.Pages().Addr((before.live[c.Addr][1000] - base) / 4096)
	if !ok {
		t.Fatal("no struct page")
	}
	o := kerneltest.OverlayOn(t, k)
	o.Exclude(at)
	s := open(t, o.Open())
	c, err = s.ByName("dentry")
	if err != nil {
		t.Fatal(err)
	}
	r, err := sweep.Run(t.Context(), s, []sweep.Consumer{after.consumer(c)}, sweep.Options{})
	lost := len(before.live[c.Addr]) - len(after.live[c.Addr])
	if err != nil || r.LostPages < 64 || r.LostPages > 65 || r.Coverage.Excluded == 0 || lost < 1 || lost > 64*c.PerSlab {
		t.Errorf("%v; %d objects fewer; %+v", err, lost, r)
	}
}

// TestStops: an error of a consumer and the end of its context end a sweep.
func TestStops(t *testing.T) {
	s := open(t, kerneltest.MainFS(t).Kernel())
	stop := errors.New("enough")
	seen := 0
	_, err := sweep.Run(t.Context(), s, []sweep.Consumer{{Caches: s.Caches(), Visit: func(int, *sweep.Slab) error {
		seen++
		return stop
	}}}, sweep.Options{Workers: 1})
	if !errors.Is(err, stop) || seen != 1 {
		t.Errorf("%v after %d slabs", err, seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sweep.Run(ctx, s, []sweep.Consumer{{Caches: s.Caches(), Visit: func(int, *sweep.Slab) error { return nil }}}, sweep.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestDrgn: the live objects of each cache of the guest are as many as drgn found
// by the free lists, and the guest's own /proc/slabinfo counts no fewer: that takes
// what processors keep for live.
func TestDrgn(t *testing.T) {
	var drgn struct {
		Slabs []struct {
			Cache   string
			Name    string
			Objects *int
		}
	}
	fixtures.Recorded(t, "main/drgn.json", &drgn)
	s := open(t, kerneltest.MainFS(t).Kernel())
	r, err := sweep.Run(t.Context(), s, []sweep.Consumer{{Caches: s.Caches(), Visit: func(int, *sweep.Slab) error { return nil }}}, sweep.Options{})
	if err != nil {
		t.Fatal(err)
	}
	live := map[string]sweep.CacheCounts{}
	for _, c := range r.Caches {
		live[fmt.Sprintf("%x", c.Cache.Addr)] = c
	}
	compared := 0
	for _, want := range drgn.Slabs {
		if want.Objects == nil {
			continue // drgn could not read it
		}
		compared++
		if got := live[want.Cache]; int(got.Live) != *want.Objects {
			t.Errorf("%s: %+v, drgn has %d", want.Name, got, *want.Objects)
		}
	}
	if compared < 100 {
		t.Errorf("only %d caches to compare with", compared)
	}
}
