package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
)

// TestLogBesideMakedumpfile compares the log with what makedumpfile 1.7.2 prints
// of the same dump (--dump-dmesg). It leaves backslashes as they are.
// MORTEM_UPDATE=1 has makedumpfile print it again, after a new capture.
func TestLogBesideMakedumpfile(t *testing.T) {
	dump := fixtures.Unpacked(t, "kdump/vmcore.kdump")
	const recorded = "testdata/kdump-makedumpfile.txt"
	if os.Getenv("MORTEM_UPDATE") != "" {
		out := filepath.Join(t.TempDir(), "dmesg")
		if said, err := exec.Command("makedumpfile", "--dump-dmesg", dump, out).CombinedOutput(); err != nil {
			t.Fatalf("makedumpfile: %v: %s", err, said)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(recorded, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	status, out, errs := mortem(t, "log", dump)
	if status != exitAnswered || errs != "" {
		t.Errorf("status %d: %s", status, errs)
	}
	got := strings.Split(strings.ReplaceAll(out, `\\`, `\`), "\n")
	want := strings.Split(string(text), "\n")
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("line %d is %q, makedumpfile has %q", i+1, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d lines, makedumpfile has %d", len(got), len(want))
	}
}
