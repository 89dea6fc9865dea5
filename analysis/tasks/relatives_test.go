package tasks_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/tasks"
	"github.com/kmortem/mortem/fixtures"
)

// TestRelatives compares the parents and children of processes with the PPid that the
// guest read in /proc/PID/status.
func TestRelatives(t *testing.T) {
	parent, here := map[int32]int32{}, map[int32]bool{}
	for _, p := range fixtures.Truth(t, "main").Tasks {
		for line := range strings.Lines(p.Status) {
			if rest, ok := strings.CutPrefix(line, "PPid:"); ok {
				n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 32)
				if err != nil {
					t.Fatal(err)
				}
				parent[int32(p.Pid)] = int32(n)
			}
		}
	}
	for _, k := range analyze(t, tasks.Options{}).Tasks {
		here[k.PID] = true
	}
	checked := 0
	for pid := range parent {
		if !here[pid] || checked >= 20 && pid > 2 {
			continue // the guest's own, which ended; and 20 are enough
		}
		checked++
		want := map[int32]bool{pid: true}
		for p := pid; p != 0; p = parent[p] {
			want[p] = true
		}
		want[0] = true
		check(t, "parents", pid, tasks.Options{PIDs: []int32{pid}, Parents: true}, want)
		want = map[int32]bool{pid: true}
		for child, p := range parent {
			if p == pid && here[child] {
				want[child] = true
			}
		}
		check(t, "children", pid, tasks.Options{PIDs: []int32{pid}, Children: true}, want)
	}
	if checked < 20 {
		t.Errorf("only %d processes", checked)
	}
}

func check(t *testing.T, what string, pid int32, opt tasks.Options, want map[int32]bool) {
	t.Helper()
	got := map[int32]bool{}
	for _, k := range analyze(t, opt).Tasks {
		got[k.PID] = true
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s of %d: %v, the guest says %v", what, pid, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}
