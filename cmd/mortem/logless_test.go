package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
)

// writeSynthetic writes a kernel's dump and vmlinux, and returns the arguments that name
// them, the dump last.
func writeSynthetic(t *testing.T, k *synthetic.Kernel) []string {
	t.Helper()
	dir := t.TempDir()
	vmlinux, vmcore := filepath.Join(dir, "vmlinux"), filepath.Join(dir, "vmcore")
	if err := os.WriteFile(vmlinux, k.Vmlinux(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(vmcore)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // what matters is written by WriteELF
	if err := k.Dump().WriteELF(f); err != nil {
		t.Fatal(err)
	}
	return []string{"--vmlinux", vmlinux, vmcore}
}

// TestLogWithoutVMCoreInfo: in a dump that says nothing about its kernel, the log
// in each of its forms is found by the vmlinux; and the panic, for sys, too.
func TestLogWithoutVMCoreInfo(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // kernels of a layout share a build id
	for _, layout := range []*synthetic.Layout{synthetic.EL6(), synthetic.EL7(), synthetic.V5_10()} {
		k := synthetic.New(layout, synthetic.Machine{QEMU: true, RAM: 40 << 20, Full: true})
		k.Log(3e9, 4, "a line to be found")
		files := writeSynthetic(t, k)
		status, out, errs := mortem(t, append([]string{"log"}, files...)...)
		if status != exitAnswered || !strings.HasSuffix(out, "[    3.000000] a line to be found\n") || !strings.Contains(out, "Linux version "+k.Release()) {
			t.Errorf("%s: status %d: %q, %s", layout.Name, status, out, errs)
		}
		if status, _, errs := mortem(t, "log", files[len(files)-1]); status != exitUnusable || !strings.Contains(errs, "--vmlinux") {
			t.Errorf("%s, without vmlinux: status %d: %s", layout.Name, status, errs)
		}
	}
}
