package slab_test

import (
	"errors"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/slab"
)

// scene is a machine whose slabs are partly used: every third object was freed. It
// returns those in use, and the freed ones.
func scene(l *synthetic.Layout, nodes int) (plan *synthetic.Kernel, used, freed []uint64) {
	plan = synthetic.New(l, synthetic.Machine{MemMap: true, RAM: 48 << 20, Nodes: nodes})
	sizes := []uint64{64, 192, 1024}
	var all []uint64
	for i := range 900 {
		all = append(all, plan.Kmalloc(sizes[i%len(sizes)]))
	}
	for i, addr := range all {
		if i%4 == 0 {
			plan.Free(addr)
			freed = append(freed, addr)
		} else {
			used = append(used, addr)
		}
	}
	return plan, used, freed
}

func info(t testing.TB, plan *synthetic.Kernel) debuginfo.Source {
	t.Helper()
	source, err := plan.DebugInfo()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() }) // nothing was written
	return source
}

func openDump(t testing.TB, d *synthetic.Dump, source debuginfo.Source) *kernel.Kernel {
	t.Helper()
	image, err := d.Open()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, source, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// On the layout and with the allocator of each release, live objects are those of the
// plan, cache by cache, and each object by its address.
func TestReleases(t *testing.T) {
	for i, l := range synthetic.Releases() {
		t.Run(l.Name, func(t *testing.T) {
			plan, used, freed := scene(l, 1+i%2)
			d := plan.Dump()
			s := open(t, openDump(t, d, info(t, plan)))
			found, errs := sweep(t, s)
			for _, err := range errs {
				t.Error(err)
			}
			for _, want := range plan.Caches() {
				c, err := s.ByAddr(want.Addr)
				if err != nil {
					t.Error(err)
					continue
				}
				if c.Name != want.Name || c.Size != int(want.Size) || c.Order != want.Order || c.PerSlab != want.PerSlab {
					t.Errorf("%s: %s, %d bytes, order %d, %d in a slab", want.Name, c.Name, c.Size, c.Order, c.PerSlab)
				}
				if got := found[c]; got.live != want.Live() || got.slabs != len(want.Slabs) {
					t.Errorf("%s: %d live in %d slabs, planned %d in %d", c.Name, got.live, got.slabs, want.Live(), len(want.Slabs))
				}
			}
			checkObjects(t, s, used, freed)
		})
	}
}

func checkObjects(t *testing.T, s *slab.Allocations, used, freed []uint64) {
	t.Helper()
	for i, list := range [][]uint64{used, freed} {
		for _, addr := range list[:50] {
			o, ok, err := s.ObjectAt(addr + 3)
			if err != nil || !ok || o.Doubt != nil || o.Addr != addr || o.Offset != 3 || o.Free != (i == 1) {
				t.Fatalf("object %#x, freed %v: %v, %v, %+v", addr, i == 1, ok, err, o)
			}
		}
	}
}

// place is where a free object of a slab has its pointer to the next one.
func place(t *testing.T, plan *synthetic.Kernel, s *slab.Allocations, name string) (at, first uint64, c *slab.Cache) {
	t.Helper()
	c, err := s.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	for sl, err := range s.Partial(c) {
		if err != nil {
			t.Fatal(err)
		}
		if sl.Objects-sl.InUse >= 3 {
			off := plan.ObjectAt("kmem_cache", c.Addr).Get("offset")
			return sl.Freelist + off, sl.Freelist, c
		}
	}
	t.Fatal("no partly used slab")
	return 0, 0, nil
}

// A list of free objects that goes in a circle, leads out of its slab or lies in a
// page that is not in the dump is told, and costs no other cache an object.
func TestDamagedList(t *testing.T) {
	for _, l := range []*synthetic.Layout{synthetic.EL7(), synthetic.Load("4.18-el8"), synthetic.Load("7.2")} {
		plan, _, _ := scene(l, 1)
		source := info(t, plan)
		sound := open(t, openDump(t, plan.Dump(), source))
		before, _ := sweep(t, sound)
		at, first, victim := place(t, plan, sound, "kmalloc-192")
		for _, damage := range []struct {
			name string
			do   func(d *synthetic.Dump)
			want error
		}{
			{"circle", func(d *synthetic.Dump) {
				// What leads to an object's own address: its pointer mixed with
				// what makes 0 of the old one, and the address.
				old, err := sound.Kernel().Uint64(at)
				if err != nil {
					t.Fatal(err)
				}
				d.PutUint64(at, old^sound.Decoded(victim, old, at)^first)
			}, slab.ErrDamaged},
			{"wild", func(d *synthetic.Dump) { d.PutUint64(at, 0x1234567890abcdef) }, slab.ErrDamaged},
			{"excluded", func(d *synthetic.Dump) { d.Exclude(at) }, dump.ErrExcluded},
		} {
			t.Run(l.Name+"/"+damage.name, func(t *testing.T) {
				d := plan.Dump()
				damage.do(d)
				s := open(t, openDump(t, d, source))
				after, errs := sweep(t, s)
				if len(errs) != 1 || !errors.Is(errs[0], damage.want) {
					t.Errorf("errors %q", errs)
				}
				for c, want := range before {
					got, _ := s.ByAddr(c.Addr)
					switch {
					case c == victim && (after[got].live < want.live || after[got].live > want.live+c.PerSlab):
						t.Errorf("%s: %d live, %d before", c.Name, after[got].live, want.live)
					case c != victim && after[got] != want:
						t.Errorf("%s: %+v, before %+v", c.Name, after[got], want)
					}
				}
			})
		}
	}
}
