package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/system"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func TestSys(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	args := []string{"sys", "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), fixtures.Path(t, kerneltest.Main)}
	status, out, errs := mortem(t, args...)
	if status != exitAnswered || errs != "" {
		t.Errorf("status %d, %s", status, errs)
	}
	for _, want := range []string{"CPUS: 4\n", "NODENAME: mortem-guest\n", "RELEASE: " + guest.Uname["release"] + "\n",
		"VERSION: " + guest.Uname["version"] + "\n", "soft lockup", "(ACTIVE)", "TAINTS: O: ", "              L: ", guest.Cmdline} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
	status, out, _ = mortem(t, append(args, "--json")...)
	var r system.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || r.CPUs != guest.CPUs {
		t.Errorf("status %d, %v, %+v", status, err, r)
	}
}

// TestSysKdump: a machine that panicked.
func TestSysKdump(t *testing.T) {
	status, out, errs := mortem(t, "sys", "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), fixtures.Unpacked(t, "kdump/vmcore.kdump"))
	if status != exitAnswered || errs != "" {
		t.Errorf("status %d, %s", status, errs)
	}
	for _, want := range []string{`PANIC: "Kernel panic - not syncing: sysrq triggered crash"`, "(PANIC)", "(sysrq crash)"} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
}
