package stacks

import (
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

func (c *collector) task(tk *task.Task, cpu *unwind.CPU) Task {
	t := Task{Addr: kernel.Addr(tk.Addr), PID: tk.PID, TGID: tk.TGID, CPU: tk.CPU, Comm: tk.Comm, State: tk.Letter(), Running: cpu != nil}
	if cpu != nil {
		t.CPU = cpu.Number
	}
	return t
}

func (c *collector) stack(tk *task.Task, cpu *unwind.CPU, trace *unwind.Trace) Stack {
	s := Stack{Task: c.task(tk, cpu), End: string(trace.End), Frames: make([]Frame, 0, len(trace.Frames))}
	if cpu != nil {
		s.Source = cpu.Source
		if cpu.Next != nil {
			next := c.task(cpu.Next, nil)
			s.SwitchingTo = &next
		}
	}
	if on, ok := c.next[tk.Addr]; ok {
		s.NextOn = &on
	}
	if trace.Err != nil {
		s.Error = trace.Err.Error()
	}
	for _, f := range trace.Faults {
		s.Faults = append(s.Faults, f.Error())
	}
	for i := range trace.Frames {
		s.Frames = append(s.Frames, c.frame(trace, i))
	}
	if trace.User != nil {
		s.User = c.exception(trace.User)
	}
	if c.opt.Raw {
		s.Raw = c.raw(tk, trace)
	}
	if c.opt.Exceptions {
		s.Found = c.search(tk, cpu, trace)
	}
	return s
}

func (c *collector) frame(trace *unwind.Trace, i int) Frame {
	f := &trace.Frames[i]
	d := Frame{Index: i, SP: kernel.Addr(f.SP), Slot: kernel.Addr(f.Slot), PC: kernel.Addr(f.PC),
		Method: string(f.Method), Confidence: string(f.Sure), Hooked: f.Hooked, Note: f.Note}
	if fn, ok := c.tracer.Function(f); ok {
		d.Function, d.Offset, d.Size, d.Module = fn.Name, fn.Offset, fn.Size, fn.Module
	}
	if f.Stack != nil {
		d.Stack = f.Stack.Name
	}
	if f.Exception != nil {
		d.Exception = c.exception(f.Exception)
	}
	if c.opt.Data {
		d.Data = c.data(trace, i)
	}
	if c.opt.Registers {
		d.Registers = c.registers(&f.Registers)
	}
	if c.opt.Lines || c.inlined[f.Lookup()] {
		d.Source = c.source(trace, i, d.Module)
	}
	return d
}

func (c *collector) exception(e *unwind.Exception) *Exception {
	d := &Exception{Addr: kernel.Addr(e.Addr), User: e.User, Partial: e.Partial, Registers: c.registers(&e.Registers)}
	if pc, ok := e.Registers.Get(c.tracer.RegisterFile().PC); ok && !e.User {
		f := unwind.Frame{PC: pc}
		if fn, ok := c.tracer.Function(&f); ok {
			d.At = fn.String()
		}
	}
	return d
}

func (c *collector) registers(r *arch.Registers) []Register {
	var list []Register
	names := c.tracer.RegisterFile()
	for _, reg := range names.Order {
		if v, ok := r.Get(reg); ok {
			list = append(list, Register{names.Name(reg), kernel.Addr(v)})
		}
	}
	return list
}
