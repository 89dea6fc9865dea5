package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func TestDebuginfo(t *testing.T) {
	t.Setenv("DEBUGINFOD_URLS", "")
	vmcore := fixtures.Path(t, kerneltest.Main)
	ask := func(args ...string) debuginfoResult {
		status, stdout, stderr := mortem(t, append([]string{"debuginfo", "--json", vmcore}, args...)...)
		var r debuginfoResult
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || status != exitAnswered {
			t.Fatalf("status %d, %v, %s", status, err, stderr)
		}
		return r
	}
	vmlinux := fixtures.Path(t, kerneltest.Vmlinux)
	if r := ask("--vmlinux", vmlinux); r.Path != vmlinux || r.Matched != "build id" || r.InDump != inDumpServes {
		t.Errorf("with the right vmlinux: %+v", r)
	}
	if r := ask(); r.Path != "" || len(r.Tried) < 5 || r.Release != fixtures.Truth(t, "main").Uname["release"] {
		t.Errorf("where there is none: %+v", r)
	}
	// A build-id tree, as distributions lay them out.
	id := ask().BuildID
	dir := t.TempDir()
	tree := filepath.Join(dir, ".build-id", id[:2])
	if err := os.MkdirAll(tree, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(tree, id[2:]+".debug")
	if err := os.Symlink(fixtures.Unpacked(t, kerneltest.Vmlinux), file); err != nil {
		t.Fatal(err)
	}
	if r := ask("--debug-dir", dir); !strings.HasPrefix(r.Path, dir) || r.Matched != "build id" {
		t.Errorf("with a build-id tree: %+v", r)
	}
}

// TestHostileRelease: what a dump says of its release reaches neither the
// terminal as it is, nor a path.
func TestHostileRelease(t *testing.T) {
	t.Setenv("DEBUGINFOD_URLS", "")
	for _, release := range []string{"\x1b[31mX\x07", "..", "../../etc", "a/b"} {
		dump := hostile(t, release)
		_, stdout, stderr := mortem(t, "debuginfo", dump)
		if strings.ContainsAny(stdout+stderr, "\x1b\x07") {
			t.Errorf("release %q comes out as it is: %q %q", release, stdout, stderr)
		}
		for _, line := range strings.Split(stdout, "\n") {
			if strings.Contains(line, "modules/../") || strings.Contains(line, "etc/vmlinux") || strings.Contains(line, "-a/b") {
				t.Errorf("release %q leads to %s", release, line)
			}
		}
	}
}

// hostile is a dump of nothing whose VMCOREINFO claims a release.
func hostile(t *testing.T, release string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hostile.kdump")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // what matters is written by Kdump
	cfg := dumpwriter.Config{VMCoreInfo: "OSRELEASE=" + release + "\nPAGESIZE=4096\n"}
	if err := dumpwriter.Kdump(f, dumpwriter.PageMap{1: []byte("nothing")}, cfg); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPackErrors(t *testing.T) {
	vmlinux := fixtures.Path(t, kerneltest.Vmlinux)
	out := filepath.Join(t.TempDir(), "x.mpack")
	for _, tc := range []struct {
		want int
		args []string
	}{
		{exitUsage, []string{"pack", vmlinux}},
		{exitUsage, []string{"pack", vmlinux, "-o", t.TempDir()}},
		{exitUsage, []string{"pack", vmlinux, "-o", filepath.Join(t.TempDir(), "no", "such", "folder", "x.mpack")}},
		{exitUnusable, []string{"pack", fixtures.Path(t, kerneltest.Main), "-o", out}},
	} {
		if status, _, stderr := mortem(t, tc.args...); status != tc.want || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: status %d, %q; want %d", tc.args, status, stderr, tc.want)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a pack was left behind by an error")
	}
}

// TestModuleTypes: types of a loaded module come from its BTF in the dump, from
// a pack and from its file; its variables, which BTF leaves out, from the latter
// two. The owner of a mutex is the task that the guest says.
func TestModuleTypes(t *testing.T) {
	vmcore := fixtures.Path(t, kerneltest.Main)
	vmlinux := fixtures.Path(t, kerneltest.Vmlinux)
	ko := fixtures.Unpacked(t, "mortem_plant.ko")
	pack := filepath.Join(t.TempDir(), "kernel.mpack")
	if status, _, stderr := mortem(t, "pack", vmlinux, ko, "-o", pack); status != exitAnswered {
		t.Fatalf("pack: status %d, %s", status, stderr)
	}
	dir := t.TempDir()
	if err := os.Symlink(ko, filepath.Join(dir, "mortem_plant.ko")); err != nil {
		t.Fatal(err)
	}
	sources := map[string][]string{"the dump": nil, "a pack": {"--vmlinux", pack}, "a file": {"--debug-dir", dir}}
	for name, args := range sources {
		status, stdout, stderr := mortem(t, append(args, "type", "--json", vmcore, "struct mp_player")...)
		var r typeResult
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || status != exitAnswered {
			t.Errorf("from %s: status %d, %v, %s", name, status, err, stderr)
			continue
		}
		if m := r.Members[0]; m.Name != "role" || m.Type != "char [32]" && m.Type != "char[32]" || m.Size != 32 {
			t.Errorf("from %s: the first member of struct mp_player is %+v", name, m)
		}
	}
	truth := fixtures.Truth(t, "main")
	holder := ""
	for _, p := range truth.Plant.Players {
		if p.Role == "mutex.hold" {
			holder = p.Task
		}
	}
	delete(sources, "the dump")
	for name, args := range sources {
		status, stdout, stderr := mortem(t, append(args, "eval", "--json", vmcore, "(struct task_struct *)(mp_mutex.owner.counter & ~7)")...)
		if status != exitAnswered || holder == "" || !strings.Contains(stdout, `"0x`+holder) {
			t.Errorf("from %s: status %d, %s%s; the guest says that %q holds the mutex", name, status, stdout, stderr, holder)
		}
	}
}
