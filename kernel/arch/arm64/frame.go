package arm64

import (
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/internal/follow"
)

// FrameAt implements arch.Arch: it follows a function's instructions by all its
// branches, and works out how far the stack pointer moved and which registers were
// stored. It needs no unwind data. The return address is in the link register
// unless that was stored.
func (Arch) FrameAt(code []byte, offset int) (arch.Frame, bool) {
	if offset%size != 0 || offset > len(code) {
		return arch.Frame{}, false
	}
	var w frameWalk
	follow.At(&w.Walk, len(code), offset, func(to int) bool { w.run(code, to); return true })
	return w.Now.Frame(file, true) // FP is known in all frames, SP not always
}

type frameWalk struct {
	follow.Walk
	trap   follow.State // what held before the last BRK: the kernel's warnings go on behind it
	framed follow.State // the frame once the function has made it
}

// frameState is what is known at an instruction.
type frameState follow.State

// run goes over the instructions in order.
func (w *frameWalk) run(code []byte, offset int) {
	w.Now = follow.State{Live: true, Known: true}
	for at := 0; at+size <= len(code) && at < offset; at += size {
		w.reach(at)
		if w.Now.Live {
			w.step(wordAt(code[at:]), at)
		}
	}
	w.reach(offset)
}

// reach comes to an instruction, perhaps by a branch.
func (w *frameWalk) reach(at int) {
	switch live := w.Now.Live; {
	case live:
		return
	case w.Reach(at):
	case w.trap.Live:
		w.Now = w.trap
	case w.Guess && w.Body.Live: // by a table of jumps
		w.Now = w.Body
	case w.Guess: // by a jump that the kernel patches in (static keys)
		w.Now = w.framed
	}
	w.trap.Live = false
}

// step carries out what an instruction does to the frame.
func (w *frameWalk) step(in word, at int) {
	s := (*frameState)(&w.Now)
	flow, rel, direct := in.flow()
	if direct && flow != arch.Call {
		w.Branch(at + int(rel))
	}
	switch flow {
	case arch.Jump:
		if !direct {
			w.Body = w.Now
		}
		s.Live = false
	case arch.Stop:
		w.trap = w.Now
		s.Live = false
	case arch.Return:
		s.Live = false
	case arch.Call:
		if s.Below[LR] == 0 {
			s.Lost |= 1 << LR
		}
	case arch.Next:
		framed := s.Framed
		s.data(in)
		if p, ok := in.pairOf(); s.Framed && (!framed || ok && !p.load) {
			w.framed = w.Now
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
		s.Depth -= imm
	case ok && to == SP && from == FP && s.Framed:
		s.Known, s.Depth = true, s.FPDepth-imm
	case ok && to == FP && from == SP:
		s.Framed, s.FPDepth = s.Known, s.Depth-imm
	case ok && to == SP:
		s.Known = false
	case ok && to == FP:
		s.Framed = false
	case in.is(0xffe0001f, 0xcb20001f), in.is(0xffe0001f, 0x8b20001f): // SUB, ADD of a register to SP
		s.Known = false
	case in.is(0xff80001f, 0x9200001f): // AND to SP, which aligns it
		s.Known = false
	}
}

// shadow is x18, the pointer to the shadow call stack, where there is one
// (CONFIG_SHADOW_CALL_STACK, since 5.8): functions put their return address there too,
// and take it from there.
const shadow arch.Reg = 18

// pair looks at a load or store.
func (s *frameState) pair(p pair) {
	if p.base == shadow && p.first == LR && p.next == 31 && p.moves != 0 {
		if p.load {
			s.Below[LR] = 0
			s.Lost &^= 1 << LR
		}
		return
	}
	depth := int64(0)
	switch {
	case p.base == SP && s.Known:
		depth = s.Depth - p.offset
	case p.base == FP && s.Framed:
		depth = s.FPDepth - p.offset
	}
	if p.base == SP {
		s.Depth -= p.moves
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
		if depth > 0 && s.Below[r] == 0 && s.Lost>>r&1 == 0 {
			s.Below[r] = depth
		}
		return
	case depth > 0 && s.Below[r] == depth:
		s.Below[r] = 0
	case s.Below[r] == 0:
		s.Lost |= 1 << r
	}
	if r == FP {
		s.Framed = false
	}
}
