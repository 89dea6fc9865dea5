package unwind

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/task"
)

// switchFrame is what a task that is switched out has at its stack pointer:
// since 4.9 a struct inactive_task_frame (arch/x86/include/asm/switch_to.h), which
// __switch_to_asm pushed; before, BP and the flags, which the macro switch_to
// pushed, while the task went on at one place in the scheduler.
type switchFrame struct {
	frame  inactiveFrame
	old    bool   // before 4.9
	resume uint64 // before 4.9: where tasks go on, 0 if that was not found
	forked uint64 // ret_from_fork, where a new thread starts
	code   []span // __switch_to_asm, since 4.9
}

type inactiveFrame struct {
	kernel.Layout `kernel:"struct inactive_task_frame"`
	R15           kernel.U64 `kernel:"r15,optional"`
	R14           kernel.U64 `kernel:"r14,optional"`
	R13           kernel.U64 `kernel:"r13,optional"`
	R12           kernel.U64 `kernel:"r12,optional"`
	BX            kernel.U64 `kernel:"bx,optional"`
	BP            kernel.U64 `kernel:"bp"`
	Return        kernel.U64 `kernel:"ret_addr"`
}

func (f *switchFrame) find(k *kernel.Kernel) {
	for _, name := range []string{"ret_from_fork_asm", "ret_from_fork"} { // renamed in 6.5
		if addr, err := k.Symbol(name); err == nil {
			f.forked = addr
			break
		}
	}
	err := k.Resolve(&f.frame)
	if err == nil {
		f.code = spans(k, []string{"__switch_to_asm"})
		return
	}
	f.old = true
	f.resume, _ = resumePoint(k) // without it, the scheduler's own frame is left out
}

// state is where a task that does not run goes on.
func (f *switchFrame) state(w *walk, t *task.Task) (state, error) {
	if f.old {
		return f.stateOld(w, t)
	}
	var buf [128]byte
	b := buf[:min(f.frame.Span(), len(buf))]
	if err := w.words.read(b, t.SP); err != nil {
		return state{}, fmt.Errorf("stack of task %d: %w", t.PID, err)
	}
	var r arch.Registers
	for _, m := range []struct {
		member kernel.U64
		reg    arch.Reg
	}{{f.frame.R15, amd64.R15}, {f.frame.R14, amd64.R14}, {f.frame.R13, amd64.R13}, {f.frame.R12, amd64.R12},
		{f.frame.BX, amd64.BX}, {f.frame.BP, amd64.BP}, {f.frame.Return, amd64.IP}} {
		if m.member.Has() {
			r.Set(m.reg, m.member.Get(b))
		}
	}
	r.Set(amd64.SP, t.SP+uint64(f.frame.Size()))
	s := w.t.fromRegisters(r)
	s.method, s.slot = BySwitch, t.SP+f.frame.Return.Offset()
	s.exact = s.pc == f.forked
	if !w.t.text.holds(s.pc) {
		return state{}, fmt.Errorf("task %d: what should be a return address at %#x is %#x", t.PID, s.slot, s.pc)
	}
	return s, nil
}

// mid is where the task goes on while a processor is in __switch_to_asm, and has taken
// its stack, but not all registers from there: BP is the other task's until then.
func (f *switchFrame) mid(w *walk, s *state) (state, bool) {
	bp, known := s.regs.Get(amd64.BP)
	taken := s.sp - w.task.SP
	switch {
	case !within(f.code, s.pc) || !known || taken > f.frame.Return.Offset():
		return state{}, false
	case taken < f.frame.Return.Offset() && w.stackOf(bp) == w.own:
		return state{}, false
	}
	saved, err := f.state(w, w.task)
	return saved, err == nil
}

// restored: before 4.9 BP is anything while a processor is in __switch_to, and the
// scheduler's is where a task that is switched out has it.
func (f *switchFrame) restored(w *walk, pc, sp uint64) (bp uint64, ok bool) {
	if !f.old || pc != f.resume || f.resume == 0 || w.stackOf(sp) == nil {
		return 0, false
	}
	bp, err := w.words.at(sp)
	return bp, err == nil
}

// stateOld is where a task that does not run goes on before 4.9.
func (f *switchFrame) stateOld(w *walk, t *task.Task) (state, error) {
	bp, err := w.words.at(t.SP)
	if err != nil {
		return state{}, fmt.Errorf("stack of task %d: %w", t.PID, err)
	}
	var r arch.Registers
	r.Set(amd64.BP, bp)
	r.Set(amd64.SP, t.SP+16)
	r.Set(amd64.IP, f.resume)
	s := w.t.fromRegisters(r)
	s.method = BySwitch
	if f.resume == 0 {
		n, err := framePointer{}.next(w, &s)
		if err != nil || n.end {
			return state{}, fmt.Errorf("task %d: where it was switched out is not known", t.PID)
		}
		s = n.state
		s.method, s.sure, s.note = ByFrame, Likely, "the scheduler's own frame is not known"
	}
	return s, nil
}

// resumePoint is where tasks go on before 4.9: the label thread_return, or the
// instruction behind the scheduler's call of __switch_to.
func resumePoint(k *kernel.Kernel) (uint64, error) {
	if addr, err := k.Symbol("thread_return"); err == nil {
		return addr, nil
	}
	target, err := k.Symbol("__switch_to")
	if err != nil {
		return 0, err
	}
	for _, name := range []string{"__schedule", "schedule", "context_switch"} {
		sym, ok := k.Info().Symbols().Lookup(name)
		if !ok {
			continue
		}
		size := min(max(sym.Size, pageSize), 1<<16)
		code := make([]byte, size)
		start := k.Runtime(sym.Addr)
		n, _ := k.Read(code, start)
		if at, ok := callOf(code[:n], start, target); ok {
			return at, nil
		}
	}
	return 0, fmt.Errorf("a call of __switch_to: %w", kernel.ErrNotFound)
}

// callOf finds a call in code and returns the address behind it.
func callOf(code []byte, start, target uint64) (uint64, bool) {
	for i := 0; i+5 <= len(code); {
		in, err := (amd64.Decoder{}).Decode(code[i:], start+uint64(i), nil)
		if err == nil && in.Flow == arch.Call && in.Target == target {
			return start + uint64(i+in.Len), true
		}
		i += in.Len
	}
	return 0, false
}
