package unwind

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
)

// step is the way from a function to what led into it.
type step struct {
	state     state
	cfa       uint64
	exception *Exception
	end       bool // nothing led into it: a thread began here
}

// errStart: the return address is 0, which the code that starts processors and
// threads pushes for unwinders to stop at.
var errStart = errors.New("the return address is 0")

// called makes the step to a caller whose return address lies below the
// canonical frame address.
func (n *step) called(w *walk, s *state, cfa uint64) error {
	slot := cfa - 8
	pc, err := w.word(s, slot)
	if err != nil {
		return err
	}
	if pc == 0 && w.t.orc == nil {
		return errStart
	}
	n.state.hooked = ""
	if real, hook := w.unhook(pc, slot); hook != "" {
		pc, n.state.hooked = real, hook
	}
	if !w.t.text.holds(pc) && !mayHold(pc) {
		return s.fail(slot, fmt.Sprintf("what should be a return address is %#x", pc), nil)
	}
	n.state.regs = s.regs
	n.state.regs.Keep(1 << amd64.BP)
	n.state.regs.Set(amd64.SP, cfa)
	n.state.regs.Set(amd64.IP, pc)
	n.state.pc, n.state.sp, n.state.slot, n.state.exact = pc, cfa, slot, false
	return nil
}

// interrupted makes the step to what an exception interrupted, whose registers
// lie in a struct pt_regs. Of a partial one only the last words have been
// written; the other registers are still those of the interrupted function.
func (n *step) interrupted(w *walk, s *state, addr uint64, partial bool) error {
	var buf [amd64.PtRegsSize]byte
	from := uint64(0)
	if partial {
		from = amd64.IretOffset
	}
	if st := w.stackOf(addr + from); st == nil || !st.holds(addr+from, uint64(amd64.PtRegsSize)-from) {
		return s.fail(addr, "the registers of what it interrupted are on no stack", nil)
	}
	if err := w.words.read(buf[from:], addr+from); err != nil {
		return s.fail(addr, "the registers of what it interrupted cannot be read", err)
	}
	regs := amd64.PtRegs(buf[:], partial)
	n.exception = &Exception{Addr: addr, Partial: partial, User: amd64.User(&regs), Registers: regs}
	if !sane(&regs) {
		return s.fail(addr, "the registers of what it interrupted are none", nil)
	}
	n.state.regs = regs
	if partial {
		n.state.regs = s.regs
		for _, r := range amd64.Order()[amd64.IretOffset/8:] {
			v, _ := regs.Get(r)
			n.state.regs.Set(r, v)
		}
	}
	n.state.pc, _ = regs.Get(amd64.IP)
	n.state.sp, _ = regs.Get(amd64.SP)
	n.state.slot, n.state.exact = addr+amd64.IretOffset, true
	return nil
}

// sane tells whether registers can be those of a processor: segments of a
// privilege level that Linux uses, in 16 bits.
func sane(r *arch.Registers) bool {
	cs, _ := r.Get(amd64.CS)
	ss, _ := r.Get(amd64.SS)
	return cs>>16 == 0 && ss>>16 == 0 && (cs&3 == 0 || cs&3 == 3) && cs != 0
}
