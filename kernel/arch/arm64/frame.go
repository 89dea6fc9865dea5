package arm64

import (
	"github.com/kmortem/mortem/kernel/arch"
)

// FrameAt implements arch.Arch: it follows a function's instructions by all its
// branches, and works out how far the stack pointer moved and which registers were
// stored. It needs no unwind data. The return address is in the link register
// unless that was stored.
func (Arch) FrameAt(code []byte, offset int) (arch.Frame, bool) {
	if offset%size != 0 || offset > len(code) {
		return arch.Frame{}, false
	}
	w := frameWalk{branches: map[int]frameState{}}
	// Blocks can come before the branch that leads to them: two rounds find
	// these, and the last one may then guess at tables of jumps.
	for range 2 {
		w.follow(code, len(code))
	}
	w.guess = true
	w.follow(code, offset)
	return w.now.frame()
}

// frameState is what is known at an instruction.
type frameState struct {
	live    bool  // control can come here
	known   bool  // depth is
	depth   int64 // CFA less SP
	fpFrame bool  // FP points into the frame
	fpDepth int64 // CFA less FP
	below   [arch.MaxSaved]int64
	lost    uint64 // registers that do not have the caller's value any more
}

func (s *frameState) frame() (arch.Frame, bool) {
	f := arch.Frame{Below: s.below, Lost: s.lost}
	switch {
	case !s.live:
		return arch.Frame{}, false
	case s.fpFrame: // first: FP is known in all frames, SP not always
		f.Base, f.Offset = FP, s.fpDepth
	case s.known:
		f.Base, f.Offset = SP, s.depth
	default:
		return arch.Frame{}, false
	}
	return f, true
}

type frameWalk struct {
	guess    bool
	now      frameState
	body     frameState // what held before the last jump to a place unknown
	trap     frameState // what held before the last BRK: the kernel's warnings go on behind it
	framed   frameState // the frame once the function has made it
	branches map[int]frameState
}

// follow goes over the instructions in order.
func (w *frameWalk) follow(code []byte, offset int) {
	w.now = frameState{live: true, known: true}
	for at := 0; at+size <= len(code) && at < offset; at += size {
		w.reach(at)
		if w.now.live {
			w.step(wordAt(code[at:]), at)
		}
	}
	w.reach(offset)
}

// reach comes to an instruction, perhaps by a branch.
func (w *frameWalk) reach(at int) {
	if w.now.live {
		return
	}
	if s, ok := w.branches[at]; ok {
		w.now = s
	} else if w.trap.live {
		w.now = w.trap
	} else if w.guess && w.body.live {
		w.now = w.body // by a table of jumps
	} else if w.guess {
		w.now = w.framed // by a jump that the kernel patches in (static keys)
	}
	w.trap.live = false
}

// maxBranches bounds what is kept of one function.
const maxBranches = 1 << 14

// step carries out what an instruction does to the frame.
func (w *frameWalk) step(in word, at int) {
	s := &w.now
	flow, rel, direct := in.flow()
	if direct && flow != arch.Call {
		to := at + int(rel)
		if _, known := w.branches[to]; !known && len(w.branches) < maxBranches {
			w.branches[to] = *s
		}
	}
	switch flow {
	case arch.Jump:
		if !direct {
			w.body = *s
		}
		s.live = false
	case arch.Stop:
		w.trap = *s
		s.live = false
	case arch.Return:
		s.live = false
	case arch.Call:
		if s.below[LR] == 0 {
			s.lost |= 1 << LR
		}
	case arch.Next:
		framed := s.fpFrame
		s.data(in)
		if p, ok := in.pairOf(); s.fpFrame && (!framed || ok && !p.load) {
			w.framed = *s
		}
	}
}

// data looks at an instruction that computes, loads or stores.
func (s *frameState) data(in word) {
	if p, ok := in.pairOf(); ok {
		s.pair(p)
		return
	}
	to, from, imm, ok := in.addition()
	switch {
	case ok && to == SP && from == SP:
		s.depth -= imm
	case ok && to == SP && from == FP && s.fpFrame:
		s.known, s.depth = true, s.fpDepth-imm
	case ok && to == FP && from == SP:
		s.fpFrame, s.fpDepth = s.known, s.depth-imm
	case ok && to == SP:
		s.known = false
	case ok && to == FP:
		s.fpFrame = false
	case in.is(0xffe0001f, 0xcb20001f), in.is(0xffe0001f, 0x8b20001f): // SUB, ADD of a register to SP
		s.known = false
	case in.is(0xff80001f, 0x9200001f): // AND to SP, which aligns it
		s.known = false
	}
}

// pair looks at a load or store.
func (s *frameState) pair(p pair) {
	depth := int64(0)
	switch {
	case p.base == SP && s.known:
		depth = s.depth - p.offset
	case p.base == FP && s.fpFrame:
		depth = s.fpDepth - p.offset
	}
	if p.base == SP {
		s.depth -= p.moves
	}
	s.register(p.first, depth, p.load)
	s.register(p.next, depth-8, p.load)
}

// register stores a register that many bytes below the CFA, or loads it from
// there; depth is 0 or less for any other place.
func (s *frameState) register(r arch.Reg, depth int64, load bool) {
	if r < 19 || r > LR {
		return // not one that functions keep
	}
	switch {
	case !load:
		if depth > 0 && s.below[r] == 0 && s.lost>>r&1 == 0 {
			s.below[r] = depth
		}
		return
	case depth > 0 && s.below[r] == depth:
		s.below[r] = 0
	case s.below[r] == 0:
		s.lost |= 1 << r
	}
	if r == FP {
		s.fpFrame = false
	}
}
