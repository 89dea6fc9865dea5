package unwind

import (
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/arm64"
)

// arm64Records unwinds by frame records: FP points to two words, the caller's FP
// and the return address, as the procedure call standard has it. The stack pointer
// is not in them: what is known is that the caller's lies behind the record.
type arm64Records struct{ m *arm64Machine }

func (arm64Records) method() Method   { return ByFrame }
func (arm64Records) sure() Confidence { return Certain }

const recordSize = 16

func (u arm64Records) next(w *walk, s *state) (step, error) {
	fp, ok := s.regs.Get(w.t.reg.FP)
	if !ok {
		return step{}, errNoData
	}
	if fp == 0 {
		return step{end: true}, nil
	}
	if fp < s.sp && w.stackOf(fp) == w.stackOf(s.sp) {
		return step{}, s.fail(fp, "its frame pointer leads down the stack", nil)
	}
	caller, err := w.word(s, fp)
	if err != nil {
		return step{}, err
	}
	pc, err := w.word(s, fp+8)
	if err != nil {
		return step{}, err
	}
	if caller == 0 && pc == 0 {
		return u.final(w, s, fp)
	}
	var n step
	// The record of what was interrupted is not that of a call.
	if err := n.returns(w, s, fp+recordSize, fp+8, pc); err != nil {
		return step{}, err
	}
	n.state.regs.Set(w.t.reg.FP, caller)
	n.state.regs.Forget(w.t.reg.SP)
	return n, nil
}

// arm64Interrupted unwinds by frame records from any instruction. The function may
// not have made its record yet, or have none, as leaf functions: then FP still
// points to its caller's, and only the link register leads to the caller. Where the
// function has called another since, that leads back into itself.
type arm64Interrupted struct{ arm64Records }

func (arm64Interrupted) sure() Confidence { return Likely }

func (u arm64Interrupted) next(w *walk, s *state) (step, error) {
	n, err := u.arm64Records.next(w, s)
	link, known := s.regs.Get(w.t.reg.Link)
	if link = w.t.k.CodeAddress(link); !known || err == nil && n.state.pc == link || !w.returnAddress(link) {
		return n, err
	}
	n = step{}
	if err := n.returns(w, s, s.sp, 0, link); err != nil {
		return step{}, err
	}
	n.state.note, n.state.aside = "by the link register", true
	return n, nil
}

// final is for a record of zeros: the last one of a stack, or since 6.14 one in the
// registers that an exception saved.
func (u arm64Records) final(w *walk, s *state, fp uint64) (step, error) {
	regs := &u.m.regs
	if !regs.Record.Has() {
		return step{end: true}, nil
	}
	at := fp - regs.Record.Offset()
	last := w.own.End == 0 || at == w.own.End-uint64(regs.Size())
	if regs.Type.Has() {
		kind, err := w.word(s, at+regs.Type.Offset())
		if err != nil || kind != metaPtRegs && kind != metaFinal {
			return step{}, s.fail(fp, "its frame record is of no kind that is known", err)
		}
		if kind == metaPtRegs {
			n := step{cfa: at}
			return n, n.interrupted(w, s, at, false)
		}
	}
	if !last {
		return step{}, s.fail(fp, "its frame record is of zeros, and is not the last one of its stack", nil)
	}
	// At the end of a user task's stack are the registers that it entered
	// with. A kernel thread's are of no mode, or of the kernel's.
	n := step{cfa: at}
	if err := n.interrupted(w, s, at, false); err == nil && n.exception.User && u.userTask(w) {
		return n, nil
	}
	return step{end: true}, nil
}

// userTask tells whether the task can have come from user mode: a kernel thread
// (PF_KTHREAD) cannot.
func (u arm64Records) userTask(w *walk) bool {
	const kthread = 0x200000
	return w.task != nil && w.task.Flags&kthread == 0
}

// arm64Entry is for entry code, which saves registers in a struct pt_regs and makes
// FP point to the frame record in it, and for where threads begin.
type arm64Entry struct{ m *arm64Machine }

func (arm64Entry) method() Method   { return ByFrame }
func (arm64Entry) sure() Confidence { return Certain }

func (e arm64Entry) next(w *walk, s *state) (step, error) {
	at := s.lookup()
	begins := within(e.m.begins, at) || s.exact && within(e.m.begins, s.pc)
	if !begins && !within(e.m.entry, at) || !e.m.regs.Record.Has() {
		return step{}, errNoData
	}
	if s.exact && e.fromUser(s) {
		return step{exception: &Exception{User: true, Registers: e.userRegisters(s)}}, nil
	}
	fp, known := s.regs.Get(w.t.reg.FP)
	var n step
	if known && fp != 0 && w.stackOf(fp) != nil {
		n.cfa = fp - e.m.regs.Record.Offset()
		if err := n.interrupted(w, s, n.cfa, false); err == nil && e.plausible(w, &n, begins) {
			return n, nil
		}
	}
	if begins {
		return step{end: true}, nil
	}
	return step{}, errNoData
}

// plausible tells whether registers can be those that the code saved: a thread's
// first ones are of user mode or of none, and what was interrupted in the kernel was
// code of it.
func (e arm64Entry) plausible(w *walk, n *step, begins bool) bool {
	if n.exception.User {
		return e.m.records.userTask(w)
	}
	return !begins && w.t.text.holds(n.state.pc)
}

// Where in the table of vectors those for exceptions from user mode begin, and how
// long it is, in bytes (Arm ARM D1.4).
const vectorsUser, vectorsSize = 0x400, 0x800

// fromUser tells whether a processor has just been taken out of user mode, and has
// not changed a register but SP and PC yet.
func (e arm64Entry) fromUser(s *state) bool {
	off := s.pc - e.m.vectors
	return e.m.vectors != 0 && off >= vectorsUser && off < vectorsSize && off%0x80 == 0
}

// userRegisters are those that are still the program's. Where it was is in ELR_EL1,
// which dumps do not have.
func (e arm64Entry) userRegisters(s *state) arch.Registers {
	r := s.regs
	r.Keep(1<<arm64.SP - 1)
	return r
}
