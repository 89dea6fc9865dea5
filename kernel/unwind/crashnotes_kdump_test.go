package unwind

import (
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
)

// TestCrashNotesOfKdump: what a genuine kdump has for notes, its kernel had at
// crash_notes.
func TestCrashNotesOfKdump(t *testing.T) {
	k := kerneltest.Kernel(t, fixtures.Unpacked(t, "kdump/vmcore.kdump"))
	tr, err := New(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := tr.CPUs(tasks)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cpus {
		own := []CPU{{Number: c.Number, Task: c.Task}}
		if c.Source != "NT_PRSTATUS" {
			t.Errorf("CPU %d: registers from %q", c.Number, c.Source)
		}
		if tr.crashNotes(own); own[0].Source != fromCrashNotes || own[0].Registers != c.Registers {
			t.Errorf("CPU %d: %+v from %q", c.Number, own[0].Registers, own[0].Source)
		}
	}
}
