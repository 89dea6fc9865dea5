package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/slab"
	"github.com/kmortem/mortem/analysis/whatis"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// onMain is the start of a command line about the main boot's dump.
func onMain(t *testing.T, command ...string) []string {
	t.Helper()
	return append(command, "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), fixtures.Path(t, kerneltest.Main))
}

func TestSlab(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	for _, c := range []struct {
		args []string
		says []string
	}{
		{nil, []string{"SLUB: ", "KMEM_CACHE", " mortem_tracked", "(also ", "\n"}},
		{[]string{"--top", "1", "--sort", "live"}, []string{"mortem_leak"}},
		{[]string{"mortem_mate", "--references"}, []string{"shared by", "[mortem_plant]", "node 1: ", "CPU 2: "}},
		{[]string{"mortem_partial", "--verify"}, []string{"  1000  ", "  3000  ", "flags "}},
	} {
		status, out, errs := mortem(t, append(onMain(t, "slab"), c.args...)...)
		if status != exitAnswered || errs != "" {
			t.Errorf("%v: status %d, %s", c.args, status, errs)
		}
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("%v does not say %q:\n%s", c.args, want, out)
			}
		}
	}
	status, out, _ := mortem(t, append(onMain(t, "slab"), "--json", "mortem_tracked")...)
	var r slab.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || len(r.Caches) != 1 ||
		r.Caches[0].Live != uint64(guest.Plant.Objects.TrackedSiteOne+guest.Plant.Objects.TrackedSiteTwo) {
		t.Errorf("status %d, %v, %+v", status, err, r)
	}
}

// A cache that has more than a tenth of the memory is a finding, and --fail-on minds it.
func TestSlabFailOn(t *testing.T) {
	dump := []string{"slab", "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), "--fail-on", "info", fixtures.Path(t, kerneltest.Main), "--json"}
	status, out, _ := mortem(t, dump...)
	var r slab.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Memory == 0 {
		t.Fatalf("%v, %+v", err, r.Memory)
	}
	large := false
	for _, c := range r.Caches {
		large = large || c.Bytes*10 >= r.Memory
	}
	if want := map[bool]int{true: exitFinding, false: exitAnswered}[large]; status != want || large != (len(r.Findings) > 0) {
		t.Errorf("status %d, want %d: %+v", status, want, r.Findings)
	}
}

func TestSlabObjects(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	status, out, errs := mortem(t, append(onMain(t, "slab", "objects"), "mortem_traced")...)
	if status != exitAnswered || errs != "" || strings.Count(out, "\n") != guest.Plant.Objects.TracedLost ||
		!strings.Contains(out, guest.Plant.Objects.TracedLostFirst) {
		t.Errorf("status %d, %s, %s", status, errs, out)
	}
	status, out, _ = mortem(t, append(onMain(t, "slab", "objects"), "--json", "--free", "--limit", "3", "mortem_traced")...)
	var r slab.ObjectList
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || len(r.Objects) != 3 || !r.More || !r.Objects[0].Free {
		t.Errorf("status %d, %v, %+v", status, err, r)
	}
}

func TestWhatis(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	status, out, errs := mortem(t, append(onMain(t, "whatis"), guest.Plant.Objects.LeakFirst)...)
	if status != exitAnswered || errs != "" || !strings.Contains(out, "slab object") || !strings.Contains(out, "in use") {
		t.Errorf("status %d, %s, %s", status, errs, out)
	}
	status, out, _ = mortem(t, append(onMain(t, "whatis"), "--json", "init_net+16")...)
	var r whatis.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || len(r.Answers) == 0 || r.Answers[0].Offset != 16 {
		t.Errorf("status %d, %v, %+v", status, err, r)
	}
}

func TestSlabUsage(t *testing.T) {
	for _, args := range [][]string{{"slab", "--sort", "beauty"}, {"slab", "--top", "-1"}, {"slab", "--fail-on", "doom"}, {"slab", "no-such-cache"},
		{"slab objects", "no-such-cache"}, {"slab objects", "--limit", "-1", "dentry"}, {"whatis", "nonsense"}, {"whatis", "init_net+x"}} {
		line := append(onMain(t, strings.Fields(args[0])...), args[1:]...)
		if status, _, errs := mortem(t, line...); status != exitUsage || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: status %d, %q", args, status, errs)
		}
	}
	for _, args := range [][]string{{"slab"}, {"slab", "objects", "x"}, {"whatis", "x"}} {
		if status, _, errs := mortem(t, args...); status != exitUsage {
			t.Errorf("%v: status %d, %q", args, status, fmt.Sprint(errs))
		}
	}
}
