package unwind_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// tracerOf opens what stacks of a kernel need.
func tracerOf(t *testing.T, k *kernel.Kernel) (*unwind.Tracer, *task.Reader) {
	t.Helper()
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
	return tr, tasks
}

// crashOf is what crash printed of each of the kdump fixture's tasks by a command, by
// the address of the task_struct.
func crashOf(t *testing.T, number int) map[uint64]string {
	t.Helper()
	text, err := os.ReadFile(fixtures.Unpacked(t, "kdump/crash.txt"))
	if err != nil {
		t.Fatal(err)
	}
	seen, list := map[uint64]int{}, map[uint64]string{}
	for _, part := range strings.Split(string(text), "PID: ")[1:] {
		at, err := strconv.ParseUint(regexp.MustCompile(`TASK: ([0-9a-f]{16})`).FindStringSubmatch(part)[1], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		if seen[at] == number {
			list[at] = part
		}
		seen[at]++
	}
	return list
}

// TestExceptionsAreCrashs compares what the search finds on the stacks of tasks with
// what crash's bt -e finds there: the mode, the address, and two of the registers.
func TestExceptionsAreCrashs(t *testing.T) {
	tr, tasks := tracerOf(t, kerneltest.Kernel(t, fixtures.Unpacked(t, "kdump/vmcore.kdump")))
	cpus, err := tr.CPUs(tasks)
	if err != nil {
		t.Fatal(err)
	}
	frame := regexp.MustCompile(`(KERNEL|USER)-MODE EXCEPTION FRAME AT: ([0-9a-f]{16})\n(?:.*\n)?? +RIP: ([0-9a-f]{16})  RSP: ([0-9a-f]{16})`)
	total := 0
	for at, text := range crashOf(t, 0) {
		var want []string
		for _, m := range frame.FindAllStringSubmatch(text, -1) {
			want = append(want, fmt.Sprint(m[1:]))
		}
		tk, err := tasks.At(at)
		if err != nil {
			t.Fatal(err)
		}
		cpu := -1
		if i := slices.IndexFunc(cpus, func(c unwind.CPU) bool { return c.Task != nil && c.Task.Addr == at }); i >= 0 {
			cpu = cpus[i].Number
		}
		found, err := tr.Exceptions(tk, cpu)
		if err != nil && !errors.Is(err, dump.ErrExcluded) {
			t.Errorf("%d: %v", tk.PID, err)
		}
		var got []string
		for i := range found {
			if found[i].Stack.Name != "task" {
				continue // those of the processor are not among what bt -e searches
			}
			mode := "KERNEL"
			if found[i].User {
				mode = "USER"
			}
			pc, _ := found[i].Registers.Get(amd64.IP)
			sp, _ := found[i].Registers.Get(amd64.SP)
			got = append(got, fmt.Sprint([]string{mode, fmt.Sprintf("%016x", found[i].Addr), fmt.Sprintf("%016x", pc), fmt.Sprintf("%016x", sp)}))
		}
		total += len(want)
		if !slices.Equal(got, want) {
			t.Errorf("%d %s: found %v, crash %v", tk.PID, tk.Comm, got, want)
		}
	}
	if total < 4 {
		t.Errorf("crash found %d", total)
	}
}

// TestExceptionsOfTraces: the search finds all registers that stacks are walked
// through.
func TestExceptionsOfTraces(t *testing.T) {
	for _, with := range []struct {
		name string
		k    *kernel.Kernel
		min  int
	}{
		{"main", kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main)), 100},
		{"kdump", kerneltest.Kernel(t, fixtures.Unpacked(t, "kdump/vmcore.kdump")), 50},
		{"arm64", kerneltest.ARM64(t), 20},
		{"arm64-kdump", kerneltest.ARM64Kdump(t), 20},
	} {
		tr, tasks := tracerOf(t, with.k)
		passed := 0
		check := func(tk *task.Task, cpu int, trace unwind.Trace) {
			found, err := tr.Exceptions(tk, cpu)
			if err != nil && !errors.Is(err, dump.ErrExcluded) {
				t.Errorf("%s: %d %s: %v", with.name, tk.PID, tk.Comm, err)
			}
			for i := range trace.Frames {
				e := trace.Frames[i].Exception
				if e == nil || e.Partial || e.Addr == 0 {
					continue
				}
				passed++
				if !slices.ContainsFunc(found, func(s unwind.Saved) bool {
					return s.Addr == e.Addr && s.User == e.User && s.Registers == e.Registers
				}) {
					t.Errorf("%s: %d %s: registers at %#x were not found", with.name, tk.PID, tk.Comm, e.Addr)
				}
			}
		}
		cpus, err := tr.CPUs(tasks)
		if err != nil {
			t.Fatal(err)
		}
		ran := map[uint64]bool{}
		for i := range cpus {
			if cpus[i].Task != nil {
				ran[cpus[i].Task.Addr] = true
				check(cpus[i].Task, cpus[i].Number, tr.CPU(&cpus[i], unwind.Options{}))
			}
		}
		for tk, err := range tasks.All() {
			if err != nil {
				t.Fatal(err)
			}
			if !ran[tk.Addr] {
				check(tk, -1, tr.Sleeping(tk, unwind.Options{}))
			}
		}
		if passed < with.min {
			t.Errorf("%s: stacks are walked through %d sets of registers only", with.name, passed)
		}
	}
}
