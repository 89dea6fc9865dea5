package system_test

import (
	"testing"

	"github.com/kmortem/mortem/analysis/system"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestBrokenTaskList: where the list of tasks breaks at its head, the tasks are counted
// by the pid structures, and the break is told.
func TestBrokenTaskList(t *testing.T) {
	file := fixtures.Path(t, kerneltest.Main)
	whole := analyze(t, file)
	hurt := kerneltest.OverlayOn(t, kerneltest.Kernel(t, file))
	hurt.BreakTaskList()
	r, err := system.Analyze(t.Context(), hurt.Open())
	if err != nil {
		t.Fatal(err)
	}
	if r.Tasks != whole.Tasks {
		t.Errorf("%d tasks, of %d", r.Tasks, whole.Tasks)
	}
	if r.Coverage.Complete() {
		t.Error("nothing is said of the break")
	}
}
