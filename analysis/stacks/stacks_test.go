package stacks_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func open(t testing.TB) *stacks.Tasks {
	t.Helper()
	tasks, err := stacks.Open(kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main)))
	if err != nil {
		t.Fatal(err)
	}
	return tasks
}

func collect(t testing.TB, opt stacks.Options) *stacks.Report {
	t.Helper()
	r, err := open(t).Collect(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Coverage.Complete() {
		t.Errorf("coverage: %+v", r.Coverage)
	}
	return r
}

// TestPlayersAreWhereTheyWait asks for the stack of each task that the guest's
// module plants in front of a lock: it runs through the function that takes such
// a lock, and through the module.
func TestPlayersAreWhereTheyWait(t *testing.T) {
	r := collect(t, stacks.Options{})
	byPID := map[int32]*stacks.Stack{}
	for i := range r.Stacks {
		byPID[r.Stacks[i].PID] = &r.Stacks[i]
	}
	in := map[string]string{
		"mutex.wait": "__mutex_lock", "sem.wait": "down", "spin.wait": "queued_spin_lock_slowpath",
		"completion.wait": "__wait_for_common", "rtmutex.wait": "rt_mutex_slowlock",
	}
	seen := 0
	for _, p := range fixtures.Truth(t, "main").Plant.Players {
		s := byPID[int32(p.Tid)]
		if s == nil {
			if p.State != "done" {
				t.Errorf("no stack of %s, %d", p.Role, p.Tid)
			}
			continue
		}
		want, known := in[p.Role]
		if !known || p.State != "waiting" {
			continue
		}
		seen++
		if !slices.ContainsFunc(s.Frames, func(f stacks.Frame) bool { return strings.HasPrefix(f.Function, want) }) ||
			!slices.ContainsFunc(s.Frames, func(f stacks.Frame) bool { return f.Module == "mortem_plant" }) {
			t.Errorf("%s: %+v", p.Role, s.Frames)
		}
	}
	if seen < 4 {
		t.Errorf("%d players were looked at", seen)
	}
}

// TestUniqueIsAll compares the folded stacks with the single ones.
func TestUniqueIsAll(t *testing.T) {
	all, unique := collect(t, stacks.Options{}), collect(t, stacks.Options{Unique: true})
	if all.Selected != unique.Selected || len(all.Stacks) != int(all.Selected) {
		t.Errorf("%d stacks, %d of %d folded", len(all.Stacks), unique.Selected, all.Selected)
	}
	group := map[int32]int{}
	sum := 0
	for i, g := range unique.Groups {
		sum += g.Count
		for _, tk := range g.Tasks {
			group[tk.PID] = i
		}
		if g.Count != len(g.Tasks) || i > 0 && g.Count > unique.Groups[i-1].Count {
			t.Errorf("group %d: %d tasks counted, %d named", i, g.Count, len(g.Tasks))
		}
	}
	if sum != len(all.Stacks) || len(unique.Groups) >= sum/2 {
		t.Errorf("%d stacks in %d groups, of %d", sum, len(unique.Groups), len(all.Stacks))
	}
	for _, s := range all.Stacks {
		if s.PID == 0 {
			continue // there are several of that number
		}
		g := unique.Groups[group[s.PID]]
		if key(s.Frames) != key(g.Frames) {
			t.Errorf("%d is in the group of %s", s.PID, key(g.Frames))
		}
	}
}

func key(frames []stacks.Frame) string {
	s := ""
	for _, f := range frames {
		s += fmt.Sprint(f.PC, " ")
	}
	return s
}

func TestSelections(t *testing.T) {
	players := fixtures.Truth(t, "main").Plant.Players
	for _, p := range players {
		if p.Role != "mutex.wait" {
			continue
		}
		r := collect(t, stacks.Options{PIDs: []int32{int32(p.Tid)}})
		if r.Selected != 1 || r.Stacks[0].Comm != p.Comm || r.Stacks[0].Addr.String() != "0x"+p.Task {
			t.Errorf("%d: %+v", p.Tid, r.Stacks)
		}
		r = collect(t, stacks.Options{In: []string{"__mutex_lock"}, States: "D"})
		if !slices.ContainsFunc(r.Stacks, func(s stacks.Stack) bool { return s.PID == int32(p.Tid) }) {
			t.Errorf("%d is not among those in __mutex_lock", p.Tid)
		}
		for _, s := range r.Stacks {
			if s.State != "D" {
				t.Errorf("%d has the state %s", s.PID, s.State)
			}
		}
		return
	}
	t.Error("no player waits for the mutex")
}

func TestRunningAreTheProcessors(t *testing.T) {
	r := collect(t, stacks.Options{Running: true})
	cpus := fixtures.Truth(t, "main").CPUs
	if len(r.Stacks) != cpus {
		t.Fatalf("%d tasks run on %d processors", len(r.Stacks), cpus)
	}
	for i, s := range r.Stacks {
		if s.CPU != i || !s.Running || s.Source == "" {
			t.Errorf("CPU %d: %+v", i, s.Task)
		}
	}
}
