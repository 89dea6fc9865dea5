// Package follow works out a function's frame from its instructions, as far as that is
// the same on all architectures: what is known at each instruction, by whichever branch
// control comes there.
package follow

import "github.com/kmortem/mortem/kernel/arch"

// State is what is known of the frame at an instruction.
type State struct {
	Live    bool  // control can come here
	Known   bool  // Depth is
	Depth   int64 // CFA less the stack pointer, in bytes
	Framed  bool  // the frame pointer points into the frame
	FPDepth int64 // CFA less the frame pointer, in bytes
	// Below is how far below the CFA registers are saved, in bytes, and Lost are
	// those that do not have the caller's value any more, a bit each.
	Below [arch.MaxSaved]int64
	Lost  uint64
}

// Frame is the frame, by the stack pointer or the frame pointer: by the latter where both
// are known, if it goes first.
func (s *State) Frame(r *arch.RegisterFile, fpFirst bool) (arch.Frame, bool) {
	f := arch.Frame{Below: s.Below, Lost: s.Lost}
	switch {
	case !s.Live:
		return arch.Frame{}, false
	case s.Framed && (fpFirst || !s.Known):
		f.Base, f.Offset = r.FP, s.FPDepth
	case s.Known:
		f.Base, f.Offset = r.SP, s.Depth
	default:
		return arch.Frame{}, false
	}
	return f, true
}

// Walk goes over a function's instructions in order.
type Walk struct {
	Now  State
	Body State // what held before the last jump to a place unknown
	// Guess tells that this is the last round, in which code that nothing leads to
	// is taken to be led to by what cannot be followed, as a table of jumps.
	Guess    bool
	branches map[int]State
}

// At works out the state at an offset of code. run goes from the first instruction to an
// offset; it fails where it cannot. Blocks can come before the branch that leads to them:
// two rounds over all code find these.
func At(w *Walk, end, offset int, run func(to int) bool) bool {
	w.branches = map[int]State{}
	for range 2 {
		if !run(end) {
			break
		}
	}
	w.Guess = true
	return run(offset)
}

// Reach comes to an instruction, perhaps by a branch. It fails where none is known.
func (w *Walk) Reach(at int) bool {
	if w.Now.Live {
		return true
	}
	s, ok := w.branches[at]
	if ok {
		w.Now = s
	}
	return ok
}

// maxBranches bounds what is kept of one function.
const maxBranches = 1 << 14

// Branch notes that control can go to an offset from here.
func (w *Walk) Branch(to int) {
	if _, known := w.branches[to]; !known && len(w.branches) < maxBranches {
		w.branches[to] = w.Now
	}
}
