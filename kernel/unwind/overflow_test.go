package unwind_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// magic is STACK_END_MAGIC (include/uapi/linux/magic.h).
const magic = 0x57ac6e9d

func marks(t *testing.T, k *kernel.Kernel) map[int32]bool {
	t.Helper()
	tracer, err := unwind.New(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	over := map[int32]bool{}
	for tk, err := range tasks.All() {
		if err != nil {
			t.Fatal(err)
		}
		is, _, err := tracer.Overflowed(tk)
		if err != nil {
			t.Errorf("%d: %v", tk.PID, err)
		}
		over[tk.PID] = is
	}
	return over
}

// TestMarksOfTheGuests: every stack of a running kernel has its mark.
func TestMarksOfTheGuests(t *testing.T) {
	for name, k := range map[string]*kernel.Kernel{"x86-64": kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main)), "arm64": kerneltest.ARM64(t)} {
		tracer, err := unwind.New(k, nil)
		if err != nil {
			t.Fatal(err)
		}
		tasks, err := task.New(k)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for tk, err := range tasks.All() {
			if err != nil || tk.Stack == 0 {
				continue
			}
			n++
			if over, found, err := tracer.Overflowed(tk); over || found != magic || err != nil {
				t.Errorf("%s: %d has %#x, %v", name, tk.PID, found, err)
			}
		}
		if n < 50 {
			t.Errorf("%s: %d tasks have a stack", name, n)
		}
	}
}

// TestOverflow: a mark that was written over, behind struct thread_info where that lies at
// the base of the stack; one that is there; and a stack without one.
func TestOverflow(t *testing.T) {
	for _, l := range synthetic.Releases() {
		k := synthetic.New(l, synthetic.Machine{})
		below := uint64(0)
		if !l.Has("task_struct", "thread_info.flags") {
			below = l.Size("thread_info")
		}
		for pid, mark := range map[int]uint64{100: magic, 101: 0xffffffff81000123, 102: 0} {
			k.PutUint64(k.Task("t", pid, k.InitNet()).Stack+below, mark)
		}
		image, err := k.Image()
		if err != nil {
			t.Fatal(err)
		}
		info, err := k.DebugInfo()
		if err != nil {
			t.Fatal(err)
		}
		kern, err := kernel.Open(image, info, kernel.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if over := marks(t, kern); over[100] || !over[101] || over[102] {
			t.Errorf("%s: %v overflowed", l.Name, over)
		}
	}
}
