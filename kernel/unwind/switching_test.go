package unwind

import (
	"slices"
	"testing"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/arch/arm64"
	"github.com/kmortem/mortem/kernel/task"
)

// another is a task that sleeps, and is not the scene's.
func another(t *testing.T, tr *Tracer, not *task.Task) (*task.Reader, *task.Task) {
	t.Helper()
	tasks, err := task.New(tr.k)
	if err != nil {
		t.Fatal(err)
	}
	for tk, err := range tasks.All() {
		if err != nil {
			t.Fatal(err)
		}
		if tk.Addr != not.Addr && !tk.OnCPU && tk.Stack != 0 && tk.PID > 1 {
			return tasks, tk
		}
	}
	t.Fatal("the fixture has one task only")
	return nil, nil
}

// TestSwitching: a processor whose run queue has the next task already, while it is on
// the former one's stack, is known to have stood in a context switch.
func TestSwitching(t *testing.T) {
	s := newScene(t)
	tasks, next := another(t, s.tr, s.task)
	list := []CPU{{Number: 0, Task: next, Source: "a note", Registers: s.at(1)}}
	s.tr.switching(list, tasks)
	s.checkSwitching(list, next)

	// A processor that is on its own task's stack, in user mode, or nowhere, was
	// not switching; nor can two have one task.
	user, nowhere := s.at(1), s.at(1)
	user.Set(amd64.IP, 0x401000)
	user.Set(amd64.SP, 0x7ffc00001000)
	user.Set(amd64.CS, 0x33)
	nowhere.Set(amd64.SP, 0xffffffffff600000)
	s2 := []CPU{
		{Number: 0, Task: s.task, Source: "a note", Registers: s.at(1)},
		{Number: 1, Task: next, Source: "a note", Registers: nowhere},
		{Number: 2, Task: next, Source: "a note", Registers: s.at(1)},
		{Number: 3, Task: next, Source: "a note", Registers: user},
	}
	s.tr.switching(s2, tasks)
	for i := range s2 {
		if s2[i].Next != nil {
			t.Errorf("CPU %d was switching to %d", i, s2[i].Next.PID)
		}
	}
}

func (s *scene) checkSwitching(list []CPU, next *task.Task) {
	s.t.Helper()
	c := &list[0]
	if c.Next != next || c.Task == nil || c.Task.Addr != s.task.Addr {
		s.t.Fatalf("the processor had %v, and was switching to %v", c.Task, c.Next)
	}
	trace := s.tr.CPU(c, Options{})
	if !trace.Complete() || !slices.Equal(pcs(trace.Frames), pcs(s.trace.Frames[1:])) {
		s.t.Errorf("%#x, %s %v; want %#x", pcs(trace.Frames), trace.End, trace.Err, pcs(s.trace.Frames[1:]))
	}
}

// TestSwitchingInterrupted: as before, but an interrupt came, whose stack leads to the
// former task's.
func TestSwitchingInterrupted(t *testing.T) {
	s := newARM64Scene(t)
	const i = 2
	record := uint64(0)
	for _, st := range s.tr.cpuStacks(1) {
		if st.Name == irqStackName {
			record = st.End - 0x100
		}
	}
	regs := s.interrupt(i, "gic_handle_irq", record)
	tasks, next := another(t, s.tr, s.task)
	list := []CPU{{Number: 1, Task: next, Source: "a note", Registers: regs}}
	s.tr.switching(list, tasks)
	if c := &list[0]; c.Next != next || c.Task.Addr != s.task.Addr {
		t.Fatalf("the processor had %v, and was switching to %v", c.Task, c.Next)
	}
	trace := s.tr.CPU(&list[0], Options{})
	if !trace.Complete() || !slices.Equal(pcs(trace.Frames[2:]), s.outer(i)) {
		t.Errorf("%#x, %s %v; want %#x at the end", pcs(trace.Frames), trace.End, trace.Err, s.outer(i))
	}
}

// TestARM64MidSwitch: in cpu_switch_to a processor has the next task's registers, but
// still the former one's stack; then the stack too.
func TestARM64MidSwitch(t *testing.T) {
	s := newARM64Scene(t)
	_, next := another(t, s.tr, s.task)
	other := s.tr.Sleeping(next, Options{}).Frames[0].Registers
	own := s.trace.Frames[0].Registers
	code := s.symbol("cpu_switch_to", 0)
	inSwitch := func(r arch.Registers, link uint64) arch.Registers {
		r.Set(arm64.SP, s.task.SP)
		r.Set(arm64.PC, code+4*16)
		r.Set(arm64.LR, link)
		r.Set(arm64.PState, 0x60400005)
		return r
	}
	otherPC, _ := other.Get(arm64.PC)
	for name, regs := range map[string]arch.Registers{
		"of the next task": inSwitch(other, otherPC),
		"of its own":       inSwitch(own, s.trace.Frames[0].PC),
	} {
		trace := s.tr.Running(s.task, 0, regs, Options{})
		if !trace.Complete() || len(trace.Frames) < 2 || !slices.Equal(pcs(trace.Frames[1:]), s.outer(0)) {
			t.Errorf("registers %s: %#x, %s %v; want %#x", name, pcs(trace.Frames), trace.End, trace.Err, s.outer(0))
		}
	}
}
