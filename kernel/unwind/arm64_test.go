package unwind_test

import (
	"strconv"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch/arm64"
	"github.com/kmortem/mortem/kernel/indump"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// arm64Stacks is what drgn says of the arm64 fixture's tasks.
type arm64Stacks struct {
	Tasks []struct {
		Task   string `json:"task"`
		PID    int32  `json:"pid"`
		OnCPU  int    `json:"on_cpu"`
		Frames []struct {
			PC      string `json:"pc"`
			SP      string `json:"sp"`
			Inlined bool   `json:"inlined"`
		} `json:"frames"`
	} `json:"tasks"`
}

type place struct{ pc, sp uint64 }

// drgnStacks are the places of each sleeping task's frames, by the address of its
// task_struct. drgn takes the registers in QEMU's notes for those of the tasks 1 to 3.
func drgnStacks(t *testing.T) map[uint64][]place {
	var drgn arm64Stacks
	fixtures.Recorded(t, "arm64/drgn.json", &drgn)
	hex := func(s string) uint64 {
		n, _ := strconv.ParseUint(s, 16, 64) // 0 where drgn knows none
		return n
	}
	list := map[uint64][]place{}
	for _, task := range drgn.Tasks {
		if task.OnCPU != 0 || task.PID > 0 && task.PID <= 3 {
			continue
		}
		var places []place
		for i, f := range task.Frames {
			if i > 0 && hex(f.PC) == places[len(places)-1].pc {
				continue // functions that were inlined into one
			}
			places = append(places, place{hex(f.PC), hex(f.SP)})
		}
		list[hex(task.Task)] = places
	}
	return list
}

// TestARM64StacksAreDrgns: by call frame information each frame of each sleeping task
// has the address and the stack pointer that drgn has, and without it, by frame
// records, the address.
func TestARM64StacksAreDrgns(t *testing.T) {
	want := drgnStacks(t)
	image := kerneltest.ARM64Image(t)
	memory, err := kernel.OpenMemory(image)
	if err != nil {
		t.Fatal(err)
	}
	own, err := indump.Open(memory)
	if err != nil {
		t.Fatal(err)
	}
	poor, err := kernel.Open(image, own, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range []struct {
		name   string
		k      *kernel.Kernel
		method unwind.Method
	}{{"vmlinux", kerneltest.ARM64(t), unwind.ByCFI}, {"the dump itself", poor, unwind.ByFrame}} {
		tasks, err := task.New(how.k)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := unwind.New(how.k, nil)
		if err != nil {
			t.Fatal(err)
		}
		compared, methods := 0, 0
		for tk, err := range tasks.All() {
			if err != nil {
				t.Fatal(err)
			}
			places := want[tk.Addr]
			if tk.OnCPU || len(places) < 3 {
				continue
			}
			trace := tr.Sleeping(tk, unwind.Options{})
			if !trace.Complete() || len(trace.Frames) < len(places) {
				t.Errorf("%s: %d %s has %d frames, drgn %d; %s, %v", how.name, tk.PID, tk.Comm, len(trace.Frames), len(places), trace.End, trace.Err)
				continue
			}
			for i, p := range places {
				f := &trace.Frames[i]
				sameSP := how.method != unwind.ByCFI || p.sp == 0 || f.SP == p.sp
				if f.PC != p.pc || !sameSP || f.Sure != unwind.Certain {
					t.Errorf("%s: %d %s: frame %d is at %#x, %#x, %s; drgn: %#x, %#x", how.name, tk.PID, tk.Comm, i, f.PC, f.SP, f.Sure, p.pc, p.sp)
					break
				}
				if f.Method == how.method {
					methods++
				}
			}
			compared++
		}
		if compared < 80 || methods < 300 {
			t.Errorf("by %s %d stacks were compared, %d frames of them found by %s", how.name, compared, methods, how.method)
		}
	}
}

// TestARM64Running: the stacks of the processors are whole, and lead to user mode but
// for idle ones. One processor ran a program.
func TestARM64Running(t *testing.T) {
	k := kerneltest.ARM64(t)
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := unwind.New(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := tr.CPUs(tasks)
	if err != nil || len(cpus) != 3 {
		t.Fatalf("%d CPUs, %v", len(cpus), err)
	}
	for i := range cpus {
		c := &cpus[i]
		trace := tr.CPU(c, unwind.Options{})
		state, _ := c.Registers.Get(arm64.PState)
		if !trace.Complete() || c.Task == nil || state&0xf == 0 && len(trace.Frames) != 0 {
			t.Errorf("CPU %d: %d frames, %s, %v %v", c.Number, len(trace.Frames), trace.End, trace.Err, trace.Faults)
		}
		idle := c.Task != nil && c.Task.Addr == c.Idle
		if (trace.End == unwind.EndThread) != idle {
			t.Errorf("CPU %d with task %d ends with %q", c.Number, c.Task.PID, trace.End)
		}
	}
}
