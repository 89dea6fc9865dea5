package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/hung"
	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// onMainDump runs a command on the main boot's dump.
func onMainDump(t *testing.T, command string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	base := []string{command, "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), fixtures.Path(t, kerneltest.Main)}
	return mortem(t, append(base, args...)...)
}

func TestLocks(t *testing.T) {
	leaf, root, hold := player(t, "u/chain.leaf"), player(t, "u/chain.root"), player(t, "mp/rtnl.hold")
	for _, c := range []struct {
		args    []string
		says    []string
		saysNot string
	}{
		{nil, []string{"deadlocks: 2", "[certain] 2 tasks\n", "[certain] 3 tasks\n", "\nROOT BLOCKERS", "\nLOCKS", "\nUNEXPLAINED",
			fmt.Sprintf("%d \"u/chain.root\" D: 4 tasks wait (1 directly)", root.Tid), "by mutex rtnl_mutex (0x", "i_rwsem of /mnt/data/locked-file"}, "SOFT"},
		{[]string{"--task", fmt.Sprint(leaf.Tid)}, []string{"deadlocks: 0; root blockers: 1", fmt.Sprintf("%d \"u/chain.leaf\" waits for mutex mp_chain_2", leaf.Tid),
			fmt.Sprintf(", held by %d \"u/chain.root\"\n", root.Tid)}, "rtnl_mutex"},
		{[]string{"--task", leaf.Task}, []string{"root blockers: 1"}, "rtnl_mutex"},
		{[]string{"--lock", "rtnl_mutex"}, []string{fmt.Sprintf("held by %d \"mp/rtnl.hold\"", hold.Tid), "\"ifup\" D waits"}, "mp_chain"},
		{[]string{"--lock", "mp_chain_2"}, []string{fmt.Sprintf("%d \"u/chain.leaf\" D waits", leaf.Tid), "root blockers: 1"}, "rtnl_mutex"},
		{[]string{"--task", "1"}, []string{"task 1 \"init\" neither waits"}, "LOCKS"},
		{[]string{"--lock", "jiffies"}, []string{"nobody is known to wait"}, "LOCKS"},
		{[]string{"--long", "--all"}, []string{"#3 mp_park+0x31 [mortem_plant] at ffffffffc0"}, "--all"},
	} {
		status, out, errs := onMainDump(t, "locks", c.args...)
		if status != exitAnswered || errs != "" {
			t.Errorf("%v: status %d, %s", c.args, status, errs)
		}
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("%v does not say %q:\n%s", c.args, want, out)
			}
		}
		if strings.Contains(out, c.saysNot) {
			t.Errorf("%v says %q:\n%s", c.args, c.saysNot, out)
		}
	}
}

// TestLocksOrder: first deadlocks, then root blockers, then locks, then the coverage.
func TestLocksOrder(t *testing.T) {
	_, out, _ := onMainDump(t, "locks")
	if !regexp.MustCompile(`(?s)^.*\nDEADLOCKS\n.*\nROOT BLOCKERS.*\nLOCKS.*\nUNEXPLAINED.*were read, all that there were\n$`).MatchString(out) {
		t.Error(out)
	}
}

// TestLocksWithoutVmlinux takes what the dump holds itself, and answers the same as
// with the vmlinux but for what only that tells: arguments, by DWARF.
func TestLocksWithoutVmlinux(t *testing.T) {
	var with, without locks.Report
	for _, c := range []struct {
		args []string
		r    *locks.Report
	}{{[]string{"--vmlinux", fixtures.Path(t, kerneltest.Vmlinux)}, &with}, {nil, &without}} {
		status, out, errs := mortem(t, append([]string{"locks", "--json", fixtures.Path(t, kerneltest.Main)}, c.args...)...)
		if err := json.Unmarshal([]byte(out), c.r); err != nil || status != exitAnswered || errs != "" {
			t.Fatalf("status %d, %v, %s", status, err, errs)
		}
	}
	if len(with.Deadlocks) != 2 || len(with.Roots) < 20 || len(with.Graph.Waits) < 50 {
		t.Fatalf("%d deadlocks, %d roots, %d waits", len(with.Deadlocks), len(with.Roots), len(with.Graph.Waits))
	}
	for i := range with.Deadlocks {
		if len(without.Deadlocks) <= i || with.Deadlocks[i].Text != without.Deadlocks[i].Text {
			t.Errorf("%s is not told without vmlinux", with.Deadlocks[i].Text)
		}
	}
	edges := func(r *locks.Report) map[string]bool {
		set := map[string]bool{}
		for _, w := range r.Graph.Waits {
			set[fmt.Sprint(r.Graph.Tasks[w.Task].PID, " waits ", r.Graph.Locks[w.Lock].Addr)] = true
		}
		for _, h := range r.Graph.Holds {
			set[fmt.Sprint(r.Graph.Locks[h.Lock].Addr, " held ", r.Graph.Tasks[h.Task].Addr)] = true
		}
		return set
	}
	a, b := edges(&with), edges(&without)
	for e := range a {
		if !b[e] {
			t.Errorf("without vmlinux %s is not told", e)
		}
	}
	for e := range b {
		if !a[e] {
			t.Errorf("only without vmlinux: %s", e)
		}
	}
}

func TestLocksPictures(t *testing.T) {
	dir := t.TempDir()
	dot, svg := filepath.Join(dir, "a.dot"), filepath.Join(dir, "a.svg")
	status, out, errs := onMainDump(t, "locks", "--dot", dot, "--svg", svg)
	if status != exitAnswered || errs != "" || !strings.Contains(out, "DEADLOCKS") {
		t.Fatalf("status %d, %s", status, errs)
	}
	for name, want := range map[string]string{dot: "digraph locks {", svg: "<svg xmlns=\"http://www.w3.org/2000/svg\""} {
		text, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(text), want) || !strings.Contains(string(text), "rtnl_mutex") {
			t.Errorf("%s: %v, %.100s", name, err, text)
		}
	}
	if status, out, errs = onMainDump(t, "locks", "--dot", "-"); status != exitAnswered || errs != "" || !strings.HasPrefix(out, "digraph") || strings.Contains(out, "DEADLOCKS") {
		t.Errorf("status %d, %s, %.100s", status, errs, out)
	}
}

func TestLocksUsage(t *testing.T) {
	for _, args := range [][]string{{"--task", "99999"}, {"--task", "perl"}, {"--lock", "no_such_lock"}, {"--fail-on", "fatal"},
		{"--dot", "-", "--json"}, {"--dot", "-", "--svg", "-"}, {"--dot", "/no/such/folder/x.dot"}} {
		if status, out, errs := onMainDump(t, "locks", args...); status != exitUsage || strings.Count(errs, "\n") != 1 || out != "" {
			t.Errorf("%v: status %d, %q, %.100s", args, status, errs, out)
		}
	}
	for _, command := range []string{"locks", "hung"} {
		if status, _, errs := mortem(t, command); status != exitUsage || !strings.Contains(errs, "the dump is missing") {
			t.Errorf("%s: status %d, %s", command, status, errs)
		}
		if status, _, _ := onMainDump(t, command, "--fail-on", "critical"); status != exitFinding {
			t.Errorf("%s --fail-on critical: status %d", command, status)
		}
	}
	if status, _, _ := onMainDump(t, "locks", "--fail-on", "critical", "--lock", "rtnl_mutex"); status != exitAnswered {
		t.Errorf("a wait of seconds is critical: status %d", status)
	}
}

func TestHung(t *testing.T) {
	p := player(t, "mp/spin.hold")
	status, out, errs := onMainDump(t, "hung")
	if status != exitAnswered || errs != "" {
		t.Fatalf("status %d, %s", status, errs)
	}
	for _, want := range []string{"for more than the 8 s that khungtaskd tolerates (it has used up its warnings",
		fmt.Sprintf("CPU 1   %d \"mp/spin.hold\", runs in the kernel in mp_spin_hold  [SOFT LOCKUP, ", p.Tid), "spins for spinlock mp_spin",
		"the waiting ends at ", "WHAT THE WATCHDOGS SAID", "blocked for more than 8 seconds.  (now: still blocked)", "stuck for 5s! [mp/spin.hold:"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if status, out, _ = onMainDump(t, "hung", "--long", "--all"); status != exitAnswered || strings.Contains(out, "--all") || !strings.Contains(out, "#0 __schedule+") {
		t.Errorf("status %d\n%s", status, out)
	}
	status, out, _ = onMainDump(t, "hung", "--json")
	var r hung.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || len(r.Tasks) < 40 || len(r.Messages) != 15 {
		t.Errorf("status %d, %v, %d tasks, %d messages", status, err, len(r.Tasks), len(r.Messages))
	}
}
