package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/dcache"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// mortem runs a command line as the shell would.
func mortem(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(context.Background(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// head is the beginning of a file.
func head(t *testing.T, path string, n int) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // opened for reading only
	b := make([]byte, n)
	if n, err = f.Read(b); err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// bare is a dump of nothing that has no VMCOREINFO.
func bare(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bare.kdump")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // what matters is written by Kdump
	if err := dumpwriter.Kdump(f, dumpwriter.PageMap{1: []byte("nothing")}, dumpwriter.Config{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestUnusable: whatever cannot be used ends in one clear line and status 3.
func TestUnusable(t *testing.T) {
	vmcore := fixtures.Path(t, kerneltest.Main)
	vmlinux := fixtures.Path(t, kerneltest.Vmlinux)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name          string
		vmlinux, dump string
		says          []string
	}{
		{"missing dump", vmlinux, "/nowhere/vmcore", []string{"/nowhere/vmcore"}},
		{"directory", vmlinux, t.TempDir(), []string{"directory"}},
		{"text file", vmlinux, write(t, "notes.txt", []byte("this is no dump\n")), []string{"notes.txt", "not a crash dump"}},
		{"empty file", vmlinux, write(t, "empty", nil), []string{"empty"}},
		{"dump cut short in its header", vmlinux, write(t, "short.kdump", head(t, vmcore, 3000)), []string{"short.kdump"}},
		{"dump cut short in its bitmap", vmlinux, write(t, "short.kdump", head(t, vmcore, 12000)), []string{"short.kdump"}},
		{"no vmlinux, and none in the dump", "", bare(t), []string{"VMCOREINFO"}},
		{"missing vmlinux", "/nowhere/vmlinux", vmcore, []string{"/nowhere/vmlinux"}},
		{"vmlinux is a directory", t.TempDir(), vmcore, []string{"directory"}},
		{"vmlinux is text", write(t, "vmlinux", []byte("not an ELF file\n")), vmcore, []string{"vmlinux"}},
		{"vmlinux is a dump", vmcore, vmcore, []string{"vmcore.kdump"}},
		{"vmlinux is a stripped program", self, vmcore, []string{"debug information"}},
		{"dump without VMCOREINFO", vmlinux, bare(t), []string{"VMCOREINFO"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := []string{"dcache", tc.dump}
			if tc.vmlinux != "" {
				args = append(args, "--vmlinux", tc.vmlinux)
			}
			status, stdout, stderr := mortem(t, args...)
			if status != exitUnusable || stdout != "" {
				t.Errorf("status %d, output %q, %q; want status %d and no output", status, stdout, stderr, exitUnusable)
			}
			last := stderr[strings.LastIndex(strings.TrimSuffix(stderr, "\n"), "\n")+1:]
			if !strings.HasPrefix(last, "mortem: ") || len(last) > 500 {
				t.Errorf("not one clear line: %q", stderr)
			}
			for _, s := range tc.says {
				if !strings.Contains(last, s) {
					t.Errorf("%q does not mention %q", last, s)
				}
			}
		})
	}
}

// TestUsage: wrong command lines end in one line and status 2.
func TestUsage(t *testing.T) {
	vmcore := fixtures.Path(t, kerneltest.Main)
	vmlinux := fixtures.Path(t, kerneltest.Vmlinux)
	for _, args := range [][]string{
		{"nonsense"},
		{"dcache"},
		{"dcache", "--no-such-flag"},
		{"dcache", "--top", "-1", "--vmlinux", vmlinux, vmcore},
		{"dcache", "--min-length", "0", "--vmlinux", vmlinux, vmcore},
		{"dcache", "--top", "many", "--vmlinux", vmlinux, vmcore},
		{"dcache", "--fail-on", "sometimes", "--vmlinux", vmlinux, vmcore},
		{"dentry", vmcore},
		{"dentry", "--vmlinux", vmlinux, vmcore, "neither"},
		{"dentry", "--vmlinux", vmlinux, vmcore, "/no/such/name"},
		{"type", "--vmlinux", vmlinux, "struct no_such_thing"},
		{"eval", "--vmlinux", vmlinux, vmcore, "no_such_variable"},
		{"eval", "--vmlinux", vmlinux, vmcore, "1 +"},
		{"dcache", "--entries", "-2", "--vmlinux", vmlinux, vmcore},
		{"supers"},
		{"dis", "--limit", "-3", "--vmlinux", vmlinux, vmcore, "schedule"},
		{"slab", "--vmlinux", vmlinux, vmcore, "no-such-cache"},
		{"slab", "objects", "--vmlinux", vmlinux, vmcore, "no-such-cache"},
		{"mem", "--top", "-1", "--vmlinux", vmlinux, vmcore},
		{"bt", "--raw-memory=here", vmcore},
	} {
		status, stdout, stderr := mortem(t, args...)
		if status != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: status %d, output %q, %q; want status %d and one line", args, status, stdout, stderr, exitUsage)
		}
	}
}

// TestAnswers: every command answers, as text and as JSON.
func TestAnswers(t *testing.T) {
	vmcore := fixtures.Path(t, kerneltest.Main)
	vmlinux := fixtures.Path(t, kerneltest.Vmlinux)
	for _, args := range [][]string{
		{"dcache", "--vmlinux", vmlinux, vmcore},
		{"supers", "--vmlinux", vmlinux, vmcore},
		{"dentry", "--vmlinux", vmlinux, "--children", vmcore, "/proc/sys/net"},
	} {
		status, stdout, stderr := mortem(t, args...)
		if status != exitAnswered || stderr != "" || strings.Count(stdout, "\n") < 10 {
			t.Errorf("%q: status %d, output %q, %q", args, status, stdout, stderr)
		}
		for _, line := range strings.Split(stdout, "\n") {
			if strings.TrimRight(line, " ") != line {
				t.Errorf("%q: trailing space in %q", args, line)
			}
		}
		status, stdout, stderr = mortem(t, append(args, "--json")...)
		if status != exitAnswered || stderr != "" || !json.Valid([]byte(stdout)) {
			t.Errorf("%q with --json: status %d, output %.200q, %q", args, status, stdout, stderr)
		}
	}
}

// TestDcacheFlags: the flags choose what is described.
func TestDcacheFlags(t *testing.T) {
	vmcore := fixtures.Path(t, kerneltest.Main)
	vmlinux := fixtures.Path(t, kerneltest.Vmlinux)
	chains := func(args ...string) []dcache.Chain {
		args = append([]string{"dcache", "--json", "--vmlinux", vmlinux, vmcore}, args...)
		status, stdout, stderr := mortem(t, args...)
		var r dcache.Report
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || status != exitAnswered {
			t.Fatalf("%q: status %d, %v, %s", args, status, err, stderr)
		}
		return r.Chains
	}
	if got := chains("--top", "1"); len(got) != 1 {
		t.Errorf("--top 1 describes %d chains", len(got))
	}
	for _, c := range chains("--min-length", "7") {
		if c.Length < 7 {
			t.Errorf("--min-length 7 describes a chain of %d", c.Length)
		}
	}
	if got := chains("--top", "1", "--entries", "3"); len(got[0].Groups[0].Entries) != 3 {
		t.Errorf("--entries 3 lists %d", len(got[0].Groups[0].Entries))
	}
	if got := chains("--top", "1", "--entries", "0"); len(got[0].Groups[0].Entries) != 0 {
		t.Errorf("--entries 0 lists %d", len(got[0].Groups[0].Entries))
	}
	if got := chains("--top", "1", "--entries", "-1"); len(got[0].Groups[0].Entries) != int(got[0].Groups[0].Dentries.Total) {
		t.Errorf("--entries -1 lists %d of %d", len(got[0].Groups[0].Entries), got[0].Groups[0].Dentries.Total)
	}
}

// TestFailOn: the planted chains are a warning, and no more.
func TestFailOn(t *testing.T) {
	vmcore := fixtures.Path(t, kerneltest.Main)
	vmlinux := fixtures.Path(t, kerneltest.Vmlinux)
	for severity, want := range map[string]int{"info": exitFinding, "warning": exitFinding, "critical": exitAnswered} {
		if status, _, stderr := mortem(t, "dcache", "--fail-on", severity, "--vmlinux", vmlinux, vmcore); status != want {
			t.Errorf("--fail-on %s: status %d, %s; want %d", severity, status, stderr, want)
		}
	}
}

// anotherBuild copies a vmlinux and changes its build id.
func anotherBuild(t *testing.T, vmlinux string) string {
	t.Helper()
	b, err := os.ReadFile(vmlinux)
	if err != nil {
		t.Fatal(err)
	}
	// The note: sizes of name and descriptor, type NT_GNU_BUILD_ID, "GNU".
	note := []byte("\x04\x00\x00\x00\x14\x00\x00\x00\x03\x00\x00\x00GNU\x00")
	i := bytes.Index(b, note)
	if i < 0 {
		t.Fatal("the fixture's vmlinux has no build id")
	}
	b[i+len(note)] ^= 0xff
	return write(t, "vmlinux", b)
}
