package unwind

import (
	"fmt"
	"slices"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/task"
)

// CPU is a processor that was online when the dump was taken.
type CPU struct {
	Number int
	Task   *task.Task // the one that ran there, nil where that cannot be read
	Err    error      // why
	Idle   uint64     // virtual address of the task_struct of its idle task
	// Registers are those that the dump's notes have; Source is the note,
	// empty where there is none for this processor.
	Registers arch.Registers
	Source    string
}

// CPUs are the processors that were online, with the task that ran on each and
// the registers that the dump has of it. The notes of a dump do not say which
// processor each is of: that is told by the base of the per-CPU area, by the
// stack that the stack pointer is on, by the task's number, and only at last by
// the order.
func (t *Tracer) CPUs(tasks *task.Reader) ([]CPU, error) {
	queues, err := tasks.CPUs()
	if len(queues) == 0 {
		return nil, err
	}
	list := make([]CPU, len(queues))
	for i, q := range queues {
		list[i].Number, list[i].Idle = q.Number, q.Idle
		list[i].Task, list[i].Err = tasks.At(q.Current)
	}
	t.assign(list, t.k.Image().Facts().CPUs)
	return list, err
}

// assign gives the notes to the processors.
func (t *Tracer) assign(list []CPU, notes []dump.CPU) {
	notes = slices.Clone(notes)
	for _, is := range []func(*CPU, *dump.CPU) bool{t.sameArea, t.sameStack, sameTask} {
		for n := range notes {
			for c := range list {
				if list[c].Source == "" && notes[n].Source != "" && is(&list[c], &notes[n]) {
					list[c].take(&notes[n])
				}
			}
		}
	}
	for n := range notes {
		if i := notes[n].Index; notes[n].Source != "" && len(notes) == len(list) && i < len(list) && list[i].Source == "" {
			list[i].take(&notes[n])
		}
	}
}

// take takes a note, which no other processor gets then.
func (c *CPU) take(note *dump.CPU) {
	for _, r := range note.General {
		if reg, ok := amd64.ByName(r.Name); ok {
			c.Registers.Set(reg, r.Value)
		}
	}
	c.Source = note.Source
	note.Source = ""
}

// sameArea: in the kernel GS points to the processor's per-CPU area, and in user
// mode the value to swap it with does.
func (t *Tracer) sameArea(c *CPU, note *dump.CPU) bool {
	area, err := t.k.PerCPU(0, uint64(c.Number))
	if err != nil || area == 0 {
		return false
	}
	base, _ := note.Register("gs_base")
	swap, _ := note.Register("kernel_gs_base")
	return base == area || swap == area
}

func (t *Tracer) sameStack(c *CPU, note *dump.CPU) bool {
	sp, ok := note.Register("sp")
	if !ok {
		return false
	}
	for _, s := range t.cpuStacks(c.Number) {
		if s.holds(sp, 1) {
			return true
		}
	}
	return c.Task != nil && c.Task.Stack != 0 && sp >= c.Task.Stack && sp < c.Task.Stack+t.size
}

func sameTask(c *CPU, note *dump.CPU) bool {
	return c.Task != nil && note.PID != 0 && int32(note.PID) == c.Task.PID && note.Source == "NT_PRSTATUS"
}

// CPU walks the stack of a processor from the registers that the dump has of it.
func (t *Tracer) CPU(c *CPU, opt Options) Trace {
	if c.Source == "" {
		return Trace{End: EndBroken, Err: fmt.Errorf("CPU %d ran, and the dump has no registers of it", c.Number), Frames: opt.Frames[:0]}
	}
	return t.Running(c.Task, c.Number, c.Registers, opt)
}
