package slab_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/slab"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/synthetic"
	kslab "github.com/kmortem/mortem/kernel/slab"
)

// bare is a place in a function without the function's size, which symbol tables tell
// differently.
func bare(name string) string {
	before, after, _ := strings.Cut(name, "/")
	if _, module, ok := strings.Cut(after, " "); ok {
		return before + " " + module
	}
	return before
}

// Live objects by allocating stack are what the guest's own alloc_traces said.
func TestTracks(t *testing.T) {
	k := main(t)
	s := open(t, k)
	c, err := slab.Find(s, "mortem_tracked")
	if err != nil {
		t.Fatal(err)
	}
	r, err := slab.Tracks(context.Background(), s, c)
	if err != nil || !r.Coverage.Complete() {
		t.Fatalf("%v, %+v", err, r)
	}
	var want []string
	for line := range strings.Lines(fixtures.Truth(t, "main").Early["/sys/kernel/debug/slab/mortem_tracked/alloc_traces"]) {
		f := strings.Fields(line)
		switch {
		case len(f) > 3 && strings.Contains(line, " age="):
			want = append(want, fmt.Sprintf("%s %s %s %s %s", f[0], bare(f[1]+" "+f[2]), f[4], f[5], "stack"))
		case len(f) > 0:
			want = append(want, bare(strings.Join(f, " ")))
		}
	}
	var got []string
	for _, site := range r.Allocs {
		got = append(got, fmt.Sprintf("%d %s pid=%d cpus=%d %s", site.Count, bare(site.Function), site.Tasks[0].PID, site.CPUs[0], "stack"))
		for _, f := range site.Stack {
			got = append(got, bare(f))
		}
		if site.MinAge > site.MeanAge || site.MeanAge > site.MaxAge || site.MinAge < 6000 || len(site.Tasks) != 1 || site.Tasks[0].Comm != "init" {
			t.Errorf("%+v", site)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nthe guest says\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	freed := uint64(0)
	for _, site := range r.Frees {
		freed += site.Count
	}
	if r.Live != 500 || r.Free != 4 || freed != r.Free { // 504 objects in its slabs
		t.Errorf("%d live, %d free, %+v", r.Live, r.Free, r.Frees)
	}
	plain, err := slab.Find(s, "dentry")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slab.Tracks(context.Background(), s, plain); !errors.Is(err, kslab.ErrNoTracks) {
		t.Errorf("a cache without records: %v", err)
	}
}

// In 3.10 the records have their stacks themselves.
func TestTracksWithStacks(t *testing.T) {
	plan := synthetic.New(synthetic.EL7(), synthetic.Machine{MemMap: true, RAM: 48 << 20})
	plan.SetVar("jiffies_64", "u64", 10_000)
	first, second := plan.Func("first_caller", make([]byte, 64)), plan.Func("second_caller", make([]byte, 64))
	outer := plan.Func("outer", make([]byte, 64))
	cache := plan.Cache("recorded", 512)
	const inuse, tracks = 64, 64 // the free pointer lies in the object
	for i := range 30 {
		o := cache.Alloc() + tracks
		caller := first
		if i%3 == 0 {
			caller = second
		}
		plan.PutUint64(o, caller+4)
		plan.PutUint64(o+8, caller+4)
		plan.PutUint64(o+16, outer+8)
		plan.PutUint32(o+136, uint32(i%2))
		plan.PutUint32(o+140, 700)
		plan.PutUint64(o+144, 9_000+uint64(i))
	}
	d := plan.Dump()
	at := func(member string) uint64 { return cache.Addr + plan.Layout.Offset("kmem_cache", member) }
	d.PutUint64(at("flags"), 0x10000) // SLAB_STORE_USER
	d.Write(at("inuse"), binary.LittleEndian.AppendUint32(nil, inuse))
	s := open(t, openPlan(t, plan, d))
	c, err := slab.Find(s, "recorded")
	if err != nil {
		t.Fatal(err)
	}
	r, err := slab.Tracks(context.Background(), s, c)
	if err != nil || len(r.Allocs) != 2 || r.Live != 30 {
		t.Fatalf("%v, %+v", err, r)
	}
	a := r.Allocs[0]
	if a.Count != 20 || fmt.Sprint(a.CPUs) != "[0 1]" || a.Tasks[0].PID != 700 || a.MinAge != 10_000-9_029 || a.MaxAge != 10_000-9_001 ||
		len(a.Stack) != 2 || !strings.HasPrefix(a.Stack[0], "first_caller+0x4") || !strings.HasPrefix(a.Stack[1], "outer+0x8") {
		t.Errorf("%+v", a)
	}
}
