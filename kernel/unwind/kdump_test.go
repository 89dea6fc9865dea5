package unwind_test

import (
	"slices"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// TestPanicUnwindsToUserMode walks the stack of the task that crashed the kernel
// of a genuine kdump: it wrote a c to /proc/sysrq-trigger, the kernel panicked and
// saved its registers on the way into the capture kernel. The first frames are in
// functions that objtool leaves out, so that they need CFI.
func TestPanicUnwindsToUserMode(t *testing.T) {
	k := kerneltest.Kernel(t, fixtures.Unpacked(t, "kdump/vmcore.kdump"))
	modules, err := module.Attach(k)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := unwind.New(k, modules)
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
	panicked := 0
	for i := range cpus {
		c := &cpus[i]
		trace := tr.CPU(c, unwind.Options{})
		if !trace.Complete() {
			t.Errorf("CPU %d: %s %v %v", c.Number, trace.End, trace.Err, trace.Faults)
		}
		var names []string
		for j := range trace.Frames {
			fn, _ := tr.Function(&trace.Frames[j])
			names = append(names, fn.Name)
		}
		if !slices.Contains(names, "panic") {
			continue
		}
		panicked++
		for _, want := range []string{"__crash_kexec", "sysrq_handle_crash", "write_sysrq_trigger", "vfs_write", "entry_SYSCALL_64_after_hwframe"} {
			if !slices.Contains(names, want) {
				t.Errorf("the panicking task was not in %s: %v", want, names)
			}
		}
		if trace.End != unwind.EndUser || trace.User == nil || !trace.User.User {
			t.Errorf("the panicking task does not come from user mode: %s", trace.End)
		}
	}
	if panicked != 1 {
		t.Errorf("%d processors panicked", panicked)
	}
}
