package unwind

import "github.com/kmortem/mortem/kernel/arch/amd64"

// framePointer unwinds by the chain of frame pointers: BP points to the caller's
// BP, above which lies the return address (CONFIG_FRAME_POINTER). Since 4.9 entry
// code puts the address of its struct pt_regs there, with bit 0 set
// (ENCODE_FRAME_POINTER in arch/x86/include/asm/frame.h).
type framePointer struct{}

func (framePointer) method() Method   { return ByFrame }
func (framePointer) sure() Confidence { return Likely }

func (framePointer) next(w *walk, s *state) (step, error) {
	bp, ok := s.regs.Get(amd64.BP)
	if !ok {
		return step{}, errNoData
	}
	if bp == 0 {
		return step{end: true}, nil
	}
	if bp&1 != 0 && w.stackOf(bp&^1) != nil {
		var n step
		n.cfa = bp &^ 1
		return n, n.interrupted(w, s, bp&^1, false)
	}
	if bp < s.sp && w.stackOf(bp) == w.stackOf(s.sp) {
		return step{}, s.fail(bp, "its frame pointer leads down the stack", nil)
	}
	n := step{cfa: bp + 16}
	if err := n.called(w, s, bp+16); err != nil {
		return step{}, err
	}
	caller, err := w.word(s, bp)
	if err != nil {
		return step{}, err
	}
	n.state.regs.Set(amd64.BP, caller)
	return n, nil
}

// interruptedPointer unwinds by frame pointers from any instruction. The function may
// not have put its own there yet, or never do so, as much assembly: then BP is still its
// caller's, and that would be left out. The return address is at the stack pointer then,
// or above BP that was just pushed.
type interruptedPointer struct{ framePointer }

func (u interruptedPointer) next(w *walk, s *state) (step, error) {
	bp, known := s.regs.Get(amd64.BP)
	top, err := w.word(s, s.sp)
	if !known || err != nil || bp < s.sp && w.stackOf(bp) == w.stackOf(s.sp) {
		return u.framePointer.next(w, s)
	}
	sym, off, _ := w.t.k.SymbolAt(s.pc)
	begins := sym.Name != "" && off == 0
	cfa := uint64(0)
	switch {
	case top == bp && bp != s.sp: // pushed
		if pc, err := w.word(s, s.sp+8); err == nil && w.likelyReturn(pc) {
			cfa = s.sp + 16
		}
	case begins && w.t.text.holds(top) || bp > s.sp && w.likelyReturn(top):
		cfa = s.sp + 8
	}
	if cfa == 0 {
		return u.framePointer.next(w, s)
	}
	n := step{cfa: cfa}
	if err := n.called(w, s, cfa); err != nil {
		return step{}, err
	}
	n.state.note, n.state.aside = "by the word at the stack pointer: the function seems to have no frame of its own", true
	return n, nil
}
