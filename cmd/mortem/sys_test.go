package main

import (
	"encoding/json"
	"os"
	"path/filepath"
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
		"  [TAINTED]\n", "  [PARTIAL DUMP]\n", "VERSION: " + guest.Uname["version"] + "\n", "soft lockup", "(ACTIVE)", "TAINTS: O: ", "              L: ", guest.Cmdline} {
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
	for _, want := range []string{`PANIC: "Kernel panic - not syncing: sysrq triggered crash"`, "(PANIC)", "(sysrq crash)", "(kdump-compressed)  [PARTIAL DUMP]\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
}

// TestSysOfHowMuch: a dump that is whole, and one that ends too early.
func TestSysOfHowMuch(t *testing.T) {
	sys := func(file string) string {
		_, out, _ := mortem(t, "sys", "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), file)
		line, _, _ := strings.Cut(out[strings.Index(out, "DUMPFILE: "):], "\n")
		return line
	}
	whole, err := os.ReadFile(fixtures.Unpacked(t, "kdump/vmcore.kdump"))
	if err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, whole[:len(whole)-1<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	if line := sys(short); !strings.HasSuffix(line, "  [PARTIAL DUMP]  [INCOMPLETE]") {
		t.Errorf("cut short: %s", line)
	}
	_, out, _ := mortem(t, "sys", "--vmlinux", fixtures.Path(t, "arm64/vmlinux.mpack"), fixtures.Unpacked(t, "arm64/vmcore.xz"))
	if strings.Contains(out, "[PARTIAL") || strings.Contains(out, "[INCOMPLETE") {
		t.Errorf("the memory as QEMU wrote it:\n%s", out)
	}
}
