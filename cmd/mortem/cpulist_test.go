package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func TestCPUList(t *testing.T) {
	for text, want := range map[string][]int{"0": {0}, "1,3": {1, 3}, "2-4": {2, 3, 4}, "0-1, 7": {0, 1, 7}} {
		var got []int
		if err := (cpuList{&got}).Set(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "a", "-1", "1-", "3-1", "0x1", "8192", "1,,2", "99999999999999999999"} {
		var got []int
		if err := (cpuList{&got}).Set(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestBTOfProcessors: what some of them were running, by a range.
func TestBTOfProcessors(t *testing.T) {
	status, out, errs := bt(t, "--cpu", "1-2")
	if status != exitAnswered || errs != "" || strings.Count(out, "PID: ") != 2 || strings.Count(out, "CPU: 1 ")+strings.Count(out, "CPU: 2 ") != 2 {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
	for _, cpus := range []string{"x", "-1", ""} {
		if status, _, errs := bt(t, "--cpu", cpus); status != exitUsage || strings.Count(errs, "\n") != 1 {
			t.Errorf("--cpu %q: status %d, %s", cpus, status, errs)
		}
	}
	status, out, errs = mortem(t, "ps", "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), "--cpu", "0-3", "--running", fixtures.Path(t, kerneltest.Main))
	if status != exitAnswered || errs != "" || strings.Count(out, "\n>") != 4 {
		t.Errorf("ps: status %d, %s\n%s", status, errs, out)
	}
}
