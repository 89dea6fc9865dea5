package slab_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/mem"
	"github.com/kmortem/mortem/analysis/slab"
	"github.com/kmortem/mortem/analysis/whatis"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/vfs"
)

// hit damages one thing: a word of a cache's structure, of a slab's or of its memory, or
// a page.
func hit(r *rand.Rand, plan *synthetic.Kernel, d *synthetic.Dump) {
	caches := plan.Caches()
	c := caches[r.IntN(len(caches))]
	at := c.Addr + uint64(r.IntN(40))*8
	if len(c.Slabs) > 0 && r.IntN(2) == 0 {
		s := c.Slabs[r.IntN(len(c.Slabs))]
		at = plan.Virt(s.Phys) + uint64(r.IntN(512))*8
	}
	switch r.IntN(4) {
	case 0:
		d.FlipBit(at, r.IntN(64))
	case 1:
		d.PutUint64(at, d.WildPointer(r))
	case 2:
		d.Poison(at, 8*(1+r.IntN(16)))
	case 3:
		d.Exclude(at)
	}
}

// Whatever is damaged, every answer comes, soon and without a panic, and says what it
// could not see where it differs from that of the sound machine.
func TestRandomDamage(t *testing.T) {
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	for _, l := range []*synthetic.Layout{synthetic.EL6(), synthetic.EL7(), synthetic.EL9(), synthetic.V7()} {
		t.Run(l.Name, func(t *testing.T) {
			s := synthetic.NewScene(l, synthetic.Machine{MemMap: true, RAM: 64 << 20}, 1)
			for i := range 200 {
				addr := s.Kmalloc(192)
				if i%3 == 0 {
					s.Free(addr)
				}
			}
			info, err := s.DebugInfo()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = info.Close() }() // nothing was written
			for round := range rounds {
				r := rand.New(rand.NewPCG(uint64(round), 7))
				d := s.Dump()
				for range 1 + r.IntN(3) {
					hit(r, s.Kernel, d)
				}
				image, err := d.Open()
				if err != nil {
					t.Fatal(err)
				}
				k, err := kernel.Open(image, info, kernel.Options{})
				if err != nil {
					continue // the damage hit what everything hangs on
				}
				start := time.Now()
				answer(t, r, k, s.Kernel)
				if took := time.Since(start); took > time.Minute {
					t.Errorf("round %d took %v", round, took)
				}
			}
		})
	}
}

// answer asks all that this package and its neighbours answer of memory.
func answer(t *testing.T, r *rand.Rand, k *kernel.Kernel, plan *synthetic.Kernel) {
	t.Helper()
	ctx := context.Background()
	caches := plan.Caches()
	if c := caches[r.IntN(len(caches))]; len(c.Slabs) > 0 {
		whatis.Look(k, c.Object(c.Slabs[0], 0)+uint64(r.IntN(64)))
	}
	s, err := slab.Open(k)
	if err != nil {
		return
	}
	report, err := slab.Analyze(ctx, s, slab.Options{Verify: true, References: true})
	if err != nil {
		t.Error(err)
		return
	}
	for i := range report.Caches {
		c := &report.Caches[i]
		if c.Live > c.Objects {
			t.Errorf("%s: %d live of %d", c.Name, c.Live, c.Objects)
		}
	}
	for _, c := range s.Caches()[:min(3, len(s.Caches()))] {
		if _, err := slab.Kinds(ctx, s, c, slab.KindOptions{Limit: 50}); err != nil {
			t.Error(err)
		}
		if _, err := slab.ListObjects(ctx, s, c, slab.ObjectOptions{Limit: 100}); err != nil {
			t.Error(err)
		}
		_, _ = slab.Tracks(ctx, s, c) // there are mostly no records
	}
	fs, err := vfs.Open(k)
	if err != nil {
		return
	}
	if _, err := mem.Analyze(ctx, fs, mem.Options{}); err != nil {
		t.Error(err)
	}
}
