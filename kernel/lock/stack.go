package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// function is what a frame's function is known by.
type function struct {
	name    string // without what the compiler added
	module  string
	start   uint64
	size    uint64
	class   class
	classed bool
}

// frame is a frame of a stack, in short.
type frame struct {
	pc, sp, cfa uint64
	ret         bool
	fn          *function
	stack       *unwind.Stack
}

// stack is one task's while it is looked at.
type stack struct {
	tk     *task.Task
	cpu    *unwind.CPU
	lo     uint64 // virtual address of the first of words
	words  []byte
	frames []frame
	trace  *unwind.Trace
}

// holds tells whether an address lies on the part of the stack in use.
func (s *stack) holds(addr, size uint64) bool {
	return addr >= s.lo && addr-s.lo < uint64(len(s.words)) && size <= uint64(len(s.words))-(addr-s.lo)
}

func (s *stack) word(addr uint64) uint64 { return le64(s.words[addr-s.lo:]) }

// frameOf is the number of the frame that an address on the stack belongs to, -1
// if none.
func (s *stack) frameOf(addr uint64) int {
	for i := range s.frames {
		if f := &s.frames[i]; addr >= f.sp && (f.cfa == 0 || addr < f.cfa) {
			return i
		}
	}
	return -1
}

// innermost is the number of the first frame whose function has one of the roles,
// -1 if none.
func (s *stack) innermost(roles ...role) int {
	for i := range s.frames {
		for _, r := range roles {
			if s.frames[i].fn.classed && s.frames[i].fn.class.role == r {
				return i
			}
		}
	}
	return -1
}

// doing is the innermost function that neither waits nor schedules.
func (s *stack) doing() int {
	for i := range s.frames {
		fn := s.frames[i].fn
		if fn.name != "" && (!fn.classed || fn.class.role == roleMeans) {
			return i
		}
	}
	return -1
}

// function names the function of a frame, once for each address.
func (b *builder) function(f *unwind.Frame) *function {
	if fn := b.funcs[f.Lookup()]; fn != nil {
		return fn
	}
	fn := &function{}
	if found, ok := b.tracer.Function(f); ok {
		fn.name, fn.module, fn.start, fn.size = strip(found.Name), found.Module, found.Start, found.Size
		fn.class, fn.classed = classOf(fn.name)
	}
	b.funcs[f.Lookup()] = fn
	return fn
}

// read reads the used part of a sleeping task's stack and walks it.
func (b *builder) read(tk *task.Task, registers bool) (*stack, error) {
	s := &stack{tk: tk}
	end := tk.Stack + b.tracer.StackSize()
	if tk.Stack == 0 || tk.SP < tk.Stack || tk.SP >= end {
		return nil, fmt.Errorf("its stack pointer %#x is not on its stack at %#x", tk.SP, tk.Stack)
	}
	if err := b.readWords(s, tk.SP&^7, end); err != nil {
		return nil, err
	}
	trace := b.tracer.Sleeping(tk, unwind.Options{Registers: registers, Frames: b.frames})
	b.keep(s, &trace)
	return s, nil
}

// readWords reads the memory of a stack; what of its end cannot be read is left
// out.
func (b *builder) readWords(s *stack, lo, end uint64) error {
	if n := int(end - lo); cap(b.words) < n {
		b.words = make([]byte, n)
	}
	s.lo, s.words = lo, b.words[:end-lo]
	n, err := b.k.Read(s.words, lo)
	s.words = s.words[:n&^7]
	if n < 8 {
		return err
	}
	return nil
}

// keep takes the frames of a trace over.
func (b *builder) keep(s *stack, trace *unwind.Trace) {
	b.frames = trace.Frames
	b.compact = b.compact[:0]
	for i := range trace.Frames {
		f := &trace.Frames[i]
		b.compact = append(b.compact, frame{pc: f.PC, sp: f.SP, cfa: f.CFA, ret: f.Return, fn: b.function(f), stack: f.Stack})
	}
	s.frames, s.trace = b.compact, trace
}

// place is the evidence that names a frame.
func (b *builder) place(s *stack, i int) Evidence {
	if i < 0 || i >= len(s.frames) {
		return Evidence{}
	}
	f := &s.frames[i]
	return Evidence{Function: f.fn.name, Frame: i, PC: kernel.Addr(f.pc)}
}

// register is the value of a register at a frame, where it is known.
func (s *stack) register(i int, r arch.Reg) (uint64, bool) {
	if s.trace == nil || i < 0 || i >= len(s.trace.Frames) {
		return 0, false
	}
	return s.trace.Frames[i].Registers.Get(r)
}
