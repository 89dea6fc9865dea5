package unwind

import (
	"errors"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/task"
)

// CPU is a processor that was online when the dump was taken.
type CPU struct {
	Number int
	Task   *task.Task // the one that ran there, nil where that cannot be read
	Err    error      // why
	// Next is the task that the processor was switching to, nil if it was not:
	// its run queue has it already, while the registers and the stack were
	// still those of Task.
	Next *task.Task
	Idle uint64 // virtual address of the task_struct of its idle task
	// Registers are those that the dump's notes have, or else those that the
	// kernel saved when it crashed. Source is the note, or "crash_notes"; empty
	// where there are none of this processor.
	Registers arch.Registers
	Source    string
	pid       int // that NT_PRSTATUS names, 0 if none
}

// CPUs are the processors that were online, with the task that ran on each and
// the registers that the dump has of it. The notes of a dump do not say which
// processor each is of: that is told by the base of the per-CPU area, by the
// stack that the stack pointer is on, by the task's number, and only at last by
// the order. Where the run queues cannot be read, the error says so, and the
// processors that are known come with it; what keeps single ones from being
// told is in CPU.Err.
func (t *Tracer) CPUs(tasks *task.Reader) ([]CPU, error) {
	queues, err := tasks.CPUs()
	list := make([]CPU, len(queues))
	for i, q := range queues {
		list[i].Number, list[i].Idle = q.Number, q.Idle
		list[i].Task, list[i].Err = tasks.At(q.Current)
	}
	list = t.assign(list, t.k.Image().Facts().CPUs)
	t.crashNotes(list)
	t.switching(list, tasks)
	return list, err
}

// Runs tells whether a task ran on a processor whose run queue cannot be read: by
// the stack pointer, or by the number in the note.
func (t *Tracer) Runs(c *CPU, tk *task.Task) bool {
	if c.Task != nil || c.Source == "" {
		return false
	}
	sp, _ := c.Registers.Get(t.reg.SP)
	return tk.Stack != 0 && sp >= tk.Stack && sp < tk.Stack+t.size || c.pid != 0 && int32(c.pid) == tk.PID
}

// assign gives the notes to the processors. Those that fit none become processors
// whose task is not known.
func (t *Tracer) assign(list []CPU, notes []dump.CPU) []CPU {
	notes = slices.Clone(notes)
	for _, is := range []func(*CPU, *dump.CPU) bool{t.sameArea, t.sameStack, sameTask} {
		for n := range notes {
			for c := range list {
				if list[c].Source == "" && notes[n].Source != "" && is(&list[c], &notes[n]) {
					t.take(&list[c], &notes[n])
				}
			}
		}
	}
	known := len(list)
	for n := range notes {
		i := notes[n].Index
		switch {
		case notes[n].Source == "":
		case len(notes) == known && i < known && list[i].Source == "":
			t.take(&list[i], &notes[n])
		default:
			c := CPU{Number: i, Err: errNoQueue}
			t.take(&c, &notes[n])
			list = append(list, c)
		}
	}
	return list
}

var errNoQueue = errors.New("its run queue is not known")

// take takes a note, which no other processor gets then.
func (t *Tracer) take(c *CPU, note *dump.CPU) {
	for _, r := range note.General {
		if reg, ok := t.reg.ByName(r.Name); ok {
			c.Registers.Set(reg, r.Value)
		}
	}
	if note.Source == "NT_PRSTATUS" {
		c.pid = note.PID
	}
	c.Source = note.Source
	note.Source = ""
}

// sameArea: what the note says of the processor's per-CPU area, if it does.
func (t *Tracer) sameArea(c *CPU, note *dump.CPU) bool {
	area, err := t.k.PerCPU(0, uint64(c.Number))
	if err != nil || area == 0 {
		return false
	}
	return t.machine.owns(note, area)
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
