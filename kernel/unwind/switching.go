package unwind

import (
	"errors"
	"iter"
	"slices"

	"github.com/kmortem/mortem/kernel/task"
)

// A processor names the task that it switches to in its run queue (rq->curr) some time
// before it changes to that one's stack (context_switch in kernel/sched/core.c). Its
// registers are the former task's until then.

// switching finds the processors that stood in a context switch: their registers lead
// to the stack of another task than their run queue names.
func (t *Tracer) switching(list []CPU, tasks *task.Reader) {
	astray := map[*CPU]uint64{} // an address on that stack
	for i := range list {
		if addr, ok := t.astray(&list[i]); ok {
			astray[&list[i]] = addr
		}
	}
	if len(astray) == 0 {
		return
	}
	current := map[uint64]bool{}
	for i := range list {
		if list[i].Task != nil {
			current[list[i].Task.Addr] = true
		}
	}
	for tk := range candidates(list, tasks) {
		for c, addr := range astray {
			if addr-tk.Stack < t.size && tk.Stack != 0 && !current[tk.Addr] && t.fits(c, addr, tk) {
				c.Task, c.Next = tk, c.Task
				delete(astray, c)
			}
		}
		if len(astray) == 0 {
			return
		}
	}
}

// candidates are the idle tasks, and all others that can be read.
func candidates(list []CPU, tasks *task.Reader) iter.Seq[*task.Task] {
	return func(yield func(*task.Task) bool) {
		for i := range list {
			if tk, err := tasks.At(list[i].Idle); err == nil && !yield(tk) {
				return
			}
		}
		all, _ := tasks.Find(func(error) {}) // who lists them says what is missing
		for _, tk := range all {
			if !yield(tk) {
				return
			}
		}
	}
}

// astray is an address of the kernel's that the stack of a processor leads to, and that
// is on none of the stacks it should be on: the stack pointer, or one in what it
// interrupted.
func (t *Tracer) astray(c *CPU) (addr uint64, ok bool) {
	if c.Task == nil || c.Source == "" {
		return 0, false
	}
	w := walker.Get().(*walk)
	defer walker.Put(w)
	w.begin(t, c.Task, c.Number, Options{})
	w.trial = true
	s := t.fromRegisters(c.Registers)
	if t.arch.User(&s.regs) {
		return 0, false
	}
	if w.stackOf(s.sp) == nil {
		return s.sp, s.sp>>63 != 0
	}
	var broken *StackError
	trace := w.run(s)
	if !errors.As(trace.Err, &broken) || w.hasBeenOn(w.own, trace.Frames) {
		return 0, false
	}
	return broken.Addr, broken.Addr>>63 != 0 && w.stackOf(broken.Addr) == nil
}

func (w *walk) hasBeenOn(s *Stack, frames []Frame) bool {
	return slices.ContainsFunc(frames, func(f Frame) bool { return f.Stack == s })
}

// fits tells whether a processor can have been on the stack of a task. An address right
// below the stack of the one that it should have run is more likely of an overflow: what
// lies there must lead to the end of a stack then.
func (t *Tracer) fits(c *CPU, addr uint64, tk *task.Task) bool {
	if below := c.Task.Stack - addr; below > pageSize {
		return true
	}
	w := walker.Get().(*walk)
	defer walker.Put(w)
	w.begin(t, tk, c.Number, Options{})
	w.trial = true
	trace := w.run(t.fromRegisters(c.Registers))
	return trace.End == EndUser || trace.End == EndThread
}

// midSwitch unwinds from the code that changes stacks, where registers of two tasks are
// mixed, by what the task has saved before that.
type midSwitch struct{}

func (midSwitch) method() Method   { return BySwitch }
func (midSwitch) sure() Confidence { return Certain }

func (midSwitch) next(w *walk, s *state) (step, error) {
	if w.task == nil || w.stackOf(s.sp) != w.own {
		return step{}, errNoData
	}
	saved, ok := w.t.machine.switched(w, s)
	if !ok {
		return step{}, errNoData
	}
	saved.note = "by what the task saved: the processor had registers of another task already"
	return step{state: saved, cfa: saved.sp}, nil
}
