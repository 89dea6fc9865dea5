package slab_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/slab"
	"github.com/kmortem/mortem/fixtures"
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
