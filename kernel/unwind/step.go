package unwind

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel/arch"
)

// step is the way from a function to what led into it.
type step struct {
	state     state
	cfa       uint64
	exception *Exception
	end       bool  // nothing led into it: a thread began here
	gap       error // functions between the two are missing
}

// errStart: the return address is 0, which the code that starts processors and
// threads pushes for unwinders to stop at.
var errStart = errors.New("the return address is 0")

// called makes the step to a caller whose return address the call pushed, so that
// it lies right below the canonical frame address.
func (n *step) called(w *walk, s *state, cfa uint64) error {
	slot := cfa - 8
	pc, err := w.word(s, slot)
	if err != nil {
		return err
	}
	return n.returns(w, s, cfa, slot, pc)
}

// linked makes the step to a caller on an architecture whose calls leave the return
// address in a register. below is the distance below the canonical frame address at
// which the function has saved that, 0 where it is still there.
func (n *step) linked(w *walk, s *state, cfa uint64, below int64) error {
	if below != 0 {
		slot := cfa - uint64(below)
		pc, err := w.word(s, slot)
		if err != nil {
			return err
		}
		return n.returns(w, s, cfa, slot, pc)
	}
	pc, known := s.regs.Get(w.t.reg.Link)
	if !known {
		return errNoData
	}
	return n.returns(w, s, cfa, 0, pc)
}

// returns makes the step to a caller by the return address, and where that lies.
// The stack pointer is cfa then.
func (n *step) returns(w *walk, s *state, cfa, slot, pc uint64) error {
	if pc == 0 && w.t.machine.tables() == nil && !w.t.reg.HasLink {
		return errStart
	}
	pc = w.t.k.CodeAddress(pc)
	if !w.t.text.holds(pc) && !w.t.machine.mayHold(pc) {
		return s.fail(slot, fmt.Sprintf("what should be a return address is %#x", pc), nil)
	}
	n.state.regs = s.regs
	n.state.regs.Keep(1 << w.t.reg.FP)
	n.state.regs.Set(w.t.reg.SP, cfa)
	n.state.regs.Set(w.t.reg.PC, pc)
	n.state.pc, n.state.sp, n.state.slot, n.state.exact = pc, cfa, slot, false
	return nil
}

// interrupted makes the step to what an exception interrupted, whose registers
// lie in a struct pt_regs. Of a partial one only the last words have been
// written; the other registers are still those of the interrupted function.
func (n *step) interrupted(w *walk, s *state, addr uint64, partial bool) error {
	var room [arch.MaxPtRegs]byte
	reg := w.t.reg
	buf, from := room[:reg.PtRegsSize], uint64(0)
	if partial {
		from = uint64(reg.PtRegsPartial)
	}
	if st := w.stackOf(addr + from); st == nil || !st.holds(addr+from, uint64(len(buf))-from) {
		return s.fail(addr, "the registers of what it interrupted are on no stack", nil)
	}
	if err := w.words.read(buf[from:], addr+from); err != nil {
		return s.fail(addr, "the registers of what it interrupted cannot be read", err)
	}
	regs := w.t.arch.PtRegs(buf, partial)
	n.exception = &Exception{Addr: addr, Partial: partial, User: w.t.arch.User(&regs), Registers: regs}
	if !w.t.arch.Sane(&regs) {
		return s.fail(addr, "the registers of what it interrupted are none", nil)
	}
	n.state.regs = regs
	if partial {
		n.state.regs = s.regs
		for _, r := range reg.Order {
			if v, known := regs.Get(r); known {
				n.state.regs.Set(r, v)
			}
		}
	}
	n.state.pc, _ = regs.Get(reg.PC)
	n.state.sp, _ = regs.Get(reg.SP)
	n.state.slot, n.state.exact = addr+uint64(reg.PtRegsPC), true
	return nil
}
