package unwind_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// TestStacksAreTheGuests compares the stack of each task that slept with what
// /proc/PID/task/TID/stack said shortly before the dump, function by function and
// to the byte: of all those that have not run since.
func TestStacksAreTheGuests(t *testing.T) {
	k, tr, tasks := open(t)
	threads := map[int32]truth.Thread{}
	for _, p := range fixtures.Truth(t, "main").Tasks {
		for _, th := range p.Threads {
			threads[int32(th.Tid)] = th
		}
	}
	start, _ := k.Symbol("__sched_text_start")
	end, _ := k.Symbol("__sched_text_end")
	compared, modules := 0, 0
	for tk, err := range tasks.All() {
		if err != nil {
			t.Fatal(err)
		}
		th, ok := threads[tk.PID]
		if !ok || th.Stack == "" || tk.OnCPU || hasRun(t, k, tk, th) {
			continue
		}
		trace := tr.Sleeping(tk, unwind.Options{})
		if !trace.Complete() {
			t.Errorf("%d %s: %s, %v %v", tk.PID, tk.Comm, trace.End, trace.Err, trace.Faults)
			continue
		}
		var got []unwind.Frame
		for _, f := range trace.Frames {
			if f.PC < start || f.PC >= end { // the kernel leaves the scheduler's functions out
				got = append(got, f)
			}
		}
		want := strings.Split(strings.TrimSpace(th.Stack), "\n")
		same := len(got) == len(want)
		for i := 0; same && i < len(want); i++ {
			same = isAt(k, tr, &got[i], strings.TrimPrefix(want[i], "[<0>] "))
		}
		if !same {
			t.Errorf("%d %s: the guest says %v", tk.PID, tk.Comm, want)
			for i := range got {
				fn, _ := tr.Function(&got[i])
				t.Error(fn)
			}
		}
		compared++
		if strings.Contains(th.Stack, "[mortem_plant]") {
			modules++
		}
	}
	t.Logf("%d stacks compared, %d of them through the module", compared, modules)
	if compared < 80 || modules < 10 {
		t.Errorf("%d stacks were compared, %d of them through the module", compared, modules)
	}
}

// isAt tells whether a frame is where the kernel says. It may know a function by
// another name for the same address, and takes it to reach up to the next one.
func isAt(k *kernel.Kernel, tr *unwind.Tracer, f *unwind.Frame, place string) bool {
	fn, ok := tr.Function(f)
	if fn.Module != "" {
		return ok && fn.String() == place
	}
	name, rest, _ := strings.Cut(place, "+")
	hex, _, _ := strings.Cut(rest, "/")
	offset, err := strconv.ParseUint(hex, 0, 64)
	for _, sym := range k.Info().Symbols().LookupAll(name) {
		if err == nil && k.Runtime(sym.Addr)+offset == f.PC {
			return true
		}
	}
	return false
}

// hasRun tells whether a task was switched in since the guest looked at it.
func hasRun(t *testing.T, k *kernel.Kernel, tk *task.Task, th truth.Thread) bool {
	t.Helper()
	fields := strings.Fields(th.Sched)
	if len(fields) < 3 {
		return true
	}
	o, err := k.ObjectAt("struct task_struct", tk.Addr)
	if err != nil {
		t.Fatal(err)
	}
	count, err := o.Field("sched_info.pcount").Uint()
	if err != nil {
		t.Fatal(err)
	}
	before, err := strconv.ParseUint(fields[2], 10, 64)
	return err != nil || before != count
}
