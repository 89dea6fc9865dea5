package main

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// A vmlinux whose debug information is damaged in the middle answers what it can, says
// that there is damage, also in the coverage, and leads to the status of an answer in part.
func TestDamagedVmlinux(t *testing.T) {
	vmlinux := damageSection(t, fixtures.Unpacked(t, kerneltest.Vmlinux), ".debug_info")
	vmcore := fixtures.Path(t, kerneltest.Main)
	run := func(args ...string) string {
		status, stdout, stderr := mortem(t, append(args, "--no-cache", "--vmlinux", vmlinux)...)
		if status != exitPartly || !strings.Contains(stderr, "debug information is damaged") || !strings.Contains(stderr, ".debug_info+0x") {
			t.Errorf("%q: status %d, %s", args, status, stderr)
		}
		return stdout
	}
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"sys", vmcore}, "CPUS: 4"},
		{[]string{"locks", vmcore}, "debug information is damaged: counts are lower bounds"},
		{[]string{"type", "struct task_struct"}, "pid;"}, // without a dump
	} {
		if stdout := run(tc.args...); !strings.Contains(stdout, tc.says) {
			t.Errorf("%q: %s", tc.args, stdout)
		}
	}
	for _, args := range [][]string{{"ps", vmcore}, {"eval", vmcore, "init_task.comm"}, {"type", vmcore, "struct task_struct"}} {
		if damage := findMember(t, run(append(args, "--json")...), "debuginfo_damage"); !strings.Contains(damage, ".debug_info+0x") {
			t.Errorf("%q with --json: damage %q", args, damage)
		}
	}
	status, stdout, _ := mortem(t, "debuginfo", "--no-cache", "--vmlinux", vmlinux, vmcore)
	if status != exitPartly || !strings.Contains(stdout, "damaged   ") {
		t.Errorf("debuginfo: status %d:\n%s", status, stdout)
	}
	out := filepath.Join(t.TempDir(), "out.mpack")
	status, _, stderr := mortem(t, "pack", vmlinux, "-o", out)
	if _, err := os.Stat(out); status != exitUnusable || !strings.Contains(stderr, "damaged debug information") || err == nil {
		t.Errorf("pack: status %d, %s", status, stderr)
	}
}

// damageSection makes a copy of an ELF file with wrong bytes in the middle of a
// section.
func damageSection(t *testing.T, path, name string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	s := file.Section(name)
	middle := s.Offset + s.FileSize/2
	copy(data[middle:], bytes.Repeat([]byte{0xff}, 40))
	return write(t, "vmlinux", data)
}

// A pack file whose symbols are damaged is refused, and the dump is not blamed; one
// whose lines are damaged answers without them, and says why.
func TestDamagedPackFile(t *testing.T) {
	whole, vmcore := fixtures.Path(t, "arm64/vmlinux.mpack"), fixtures.Unpacked(t, "arm64/vmcore.xz")
	status, _, stderr := mortem(t, "bt", "--vmlinux", damagePack(t, whole, "symbols"), vmcore, "1")
	if status != exitUnusable || !strings.Contains(stderr, "damaged pack file: section symbols") || strings.Contains(stderr, "dump does not") {
		t.Errorf("symbols: status %d: %s", status, stderr)
	}
	status, stdout, stderr := mortem(t, "bt", "--lines", "--vmlinux", damagePack(t, whole, "lines"), vmcore, "1")
	if status != exitPartly || !strings.Contains(stdout, "schedule") || !strings.Contains(stdout+stderr, "damaged pack file: section lines") {
		t.Errorf("lines: status %d:\n%s%s", status, stdout, stderr)
	}
}

// damagePack makes a copy of a pack file with a wrong byte in the middle of a
// section.
func damagePack(t *testing.T, path, section string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Name           string
		Offset, Stored uint64
	}
	if err := json.Unmarshal(data[bytes.LastIndex(data, []byte(`[{"name"`)):], &list); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.Name == section {
			data[s.Offset+s.Stored/2] ^= 0x55
			return write(t, "damaged.mpack", data)
		}
	}
	t.Fatalf("there is no section %s: %v", section, list)
	return ""
}
