package unwind

import (
	"github.com/kmortem/mortem/kernel/arch"
)

// maxTrials bounds how many return addresses are tried for a stack that ends
// well.
const maxTrials = 64

// search looks up the stack, from the stack pointer on, for a return address:
// the first from which unwinding by data comes to a proper end, or else the
// first at all.
func (w *walk) search(s *state) (step, bool) {
	sp := s.sp
	if w.overflowed(sp) {
		sp = w.own.Start
	}
	stack := w.stackOf(sp)
	if stack == nil {
		return step{}, false
	}
	var first step
	found, trials := false, 0
	for slot := (sp + 7) &^ 7; stack.holds(slot, 8); slot += 8 {
		pc, err := w.words.at(slot)
		pc = w.t.k.CodeAddress(pc)
		if err != nil || !w.likelyReturn(pc) {
			continue
		}
		n := w.candidate(slot, pc)
		if w.unhook(&n.state); n.state.lost {
			continue // one that is not in use any more
		}
		if w.opt.Scan {
			return n, true
		}
		if !found {
			first, found = n, true
		}
		if trials++; trials > maxTrials {
			break
		}
		if w.endsWell(n.state) {
			n.state.sure = Likely
			return n, true
		}
	}
	return first, found
}

func (w *walk) candidate(slot, pc uint64) step {
	var r arch.Registers
	r.Set(w.t.reg.PC, pc)
	r.Set(w.t.reg.SP, slot+8)
	if w.t.reg.HasLink {
		// The return address is the second word of a frame record.
		if fp, err := w.words.at(slot - 8); err == nil && fp > slot && w.stackOf(fp) != nil {
			r.Set(w.t.reg.FP, fp)
		}
	}
	return step{cfa: slot + 8, state: state{regs: r, pc: pc, sp: slot + 8, slot: slot, method: ByScan, sure: Suspected}}
}

// returnAddress tells whether a word is an address of code behind a call, or what
// replaces one.
func (w *walk) returnAddress(pc uint64) bool {
	call, known := w.behindCall(pc)
	return call && known
}

// likelyReturn is returnAddress where the code may not be in the dump: any place in a
// function but its beginning is one then.
func (w *walk) likelyReturn(pc uint64) bool {
	call, known := w.behindCall(pc)
	if known || !w.t.text.holds(pc) {
		return call
	}
	f, ok := w.t.Function(&Frame{PC: pc})
	return ok && f.Offset > 0
}

// behindCall tells whether there is a call right before an address of code, if that can
// be read.
func (w *walk) behindCall(pc uint64) (call, known bool) {
	if w.t.hooks.of(pc) != "" {
		return true, true
	}
	if !w.t.text.holds(pc) {
		return false, true
	}
	code := w.code[:8]
	_, err := w.t.mem.Read(code, pc-8)
	return err == nil && w.t.arch.CallBefore(code), err == nil
}

// endsWell walks on from a candidate by unwind data alone.
func (w *walk) endsWell(s state) bool {
	if w.t.machine.tables() == nil && !w.t.reg.HasLink {
		return false
	}
	trial := *w
	trial.trial = true
	trial.opt = Options{Limit: 64}
	tr := trial.run(s)
	return tr.End == EndUser || tr.End == EndThread
}
