package supers_test

import (
	"testing"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/analysis/supers"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// The host of dcache's TestCase1: one super_block, s_id proc, holds all the
// dentries that nobody uses, and its list says as many as its counter.
func TestCase1(t *testing.T) {
	plan := synthetic.NewCase1(synthetic.EL7(), synthetic.Machine{RAM: 256 << 20, HashBits: 16}, 8000)
	fs := kerneltest.SyntheticFS(t, plan, dumpwriter.Snappy)
	r, err := supers.Analyze(t.Context(), fs)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Coverage.Complete() || len(r.SuperBlocks) != 2 {
		t.Fatalf("%d super_blocks, coverage %+v", len(r.SuperBlocks), r.Coverage)
	}
	hashed, unused := uint64(0), uint64(2*len(plan.Entries[0]))
	for _, d := range plan.Dentries() {
		if d.Super == plan.Proc {
			hashed++
		}
	}
	proc := r.SuperBlocks[1]
	if proc.ID != "proc" || proc.UnusedCounter != int64(unused) || proc.UnusedWalked != unused || proc.Hashed != hashed ||
		proc.Inodes != uint64(len(plan.Proc.Inodes)) || len(proc.Mounts) != 1 || proc.Mounts[0].Path != "/proc" {
		t.Errorf("%+v; planned are %d hashed and %d unused", proc, hashed, unused)
	}
	checkAlarms(t, r, unused)
	if root := r.SuperBlocks[0]; root.UnusedCounter != 0 || root.UnusedWalked != 0 || root.Hashed != 1 {
		t.Errorf("%+v", root)
	}
}

// checkAlarms: each limit raises its own alarm, and none where it is not exceeded.
func checkAlarms(t *testing.T, r *supers.Report, unused uint64) {
	t.Helper()
	all := r.State.Dentries
	for _, c := range []struct {
		limits supers.Limits
		id     string // of the alarm, "" for none
		level  finding.Severity
	}{
		{supers.Limits{}, "", ""},
		{supers.Limits{Unused: unused, Dentries: all, Negative: 1}, "", ""},
		{supers.Limits{Unused: unused - 1}, "supers.unused-dentries-over-limit", finding.Warning},
		{supers.Limits{Unused: unused / 10}, "supers.unused-dentries-over-limit", finding.Critical},
		{supers.Limits{Dentries: all - 1}, "supers.dentries-over-limit", finding.Warning},
	} {
		got := r.Alarms(c.limits)
		if c.id == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || got[0].ID != c.id || got[0].Severity != c.level || len(got[0].Evidence) == 0 {
			t.Errorf("%+v: %+v; want %q %s", c.limits, got, c.id, c.level)
		}
	}
}

// Negative dentries raise an alarm of their own, by the kernel's counter where it
// has one.
func TestNegativeAlarm(t *testing.T) {
	n := uint64(70)
	for _, r := range []supers.Report{
		{State: supers.DentryState{Dentries: 100, Unused: 90, Negative: &n}},
		{State: supers.DentryState{Dentries: 100, Unused: 90}, SuperBlocks: []supers.SuperBlock{{Negative: 30}, {Negative: 40}}},
	} {
		got := r.Alarms(supers.Limits{Negative: 69, Unused: 1000, Dentries: 1000})
		if len(got) != 1 || got[0].ID != "supers.negative-dentries-over-limit" || len(r.Alarms(supers.Limits{Negative: 70})) != 0 {
			t.Errorf("%+v", got)
		}
	}
}
