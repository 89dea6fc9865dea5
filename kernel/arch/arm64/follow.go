package arm64

import (
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/taken"
)

var _ taken.Machine = Arch{}

// keptRegisters has a bit for each register that a function gives back as it was.
const keptRegisters = 0x7ff << 19 // x19 to x29

// Convention implements taken.Machine (Procedure Call Standard for the Arm 64-bit
// Architecture). Calls leave the return address in a register.
func (Arch) Convention() taken.Convention {
	return taken.Convention{SP: SP, Args: []arch.Reg{0, 1, 2, 3, 4, 5, 6, 7}, Kept: keptRegisters, Registers: 32}
}

// Code implements taken.Machine.
func (Arch) Code(code []byte, start uint64) taken.Code {
	f := &follower{words: make([]word, len(code)/size), start: start}
	for i := range f.words {
		f.words[i] = wordAt(code[i*size:])
	}
	return f
}

// follower is a function whose code is followed.
type follower struct {
	words []word
	start uint64
}

// Len implements taken.Code.
func (f *follower) Len() int { return len(f.words) }

// Place implements taken.Code.
func (f *follower) Place(i int) taken.Place {
	flow, rel, direct := f.words[i].flow()
	return taken.Place{Offset: i * size, Len: size, Flow: flow, To: i*size + int(rel), Direct: direct}
}

// Condition implements taken.Code.
func (f *follower) Condition(w *taken.Walk, s *taken.State, i int) taken.Condition {
	in := f.words[i]
	var c taken.Condition
	switch {
	case in.is(0x7e000000, 0x34000000): // CBZ, CBNZ
		c = w.IsZero(step{f, w, s, i}.reg(in.rd()))
	case in.is(0x7e000000, 0x36000000): // TBZ, TBNZ
		c = w.IsBitClear(step{f, w, s, i}.reg(in.rd()), int(in>>31<<5|in>>19&31))
	default:
		return onFlags(s.Flags.Zero, in&15)
	}
	if in>>24&1 != 0 {
		return c.Negated()
	}
	return c
}

// onFlags is what a branch on a condition code asks.
func onFlags(zero taken.Condition, code word) taken.Condition {
	signed := zero.Asks == taken.Zero // an error number is negative
	switch {
	case code == 0, signed && (code == 5 || code == 10): // EQ; PL, GE
		return zero
	case code == 1, signed && (code == 4 || code == 11): // NE; MI, LT
		return zero.Negated()
	}
	return taken.Condition{}
}

// step is an instruction that is carried out.
type step struct {
	*follower
	w *taken.Walk
	s *taken.State
	i int
}

// Step implements taken.Code.
func (f *follower) Step(w *taken.Walk, s *taken.State, i int) {
	t := step{f, w, s, i}
	in := f.words[i]
	if t.pair(in) || t.single(in) || t.ordered(in) || t.atomic(in) || t.compute(in) || t.bits(in) {
		return
	}
	for r := range arch.Reg(31) {
		if in.writes(r) {
			s.Regs[r] = w.Fresh(i, r)
		}
	}
}

// reg is the number in a register, 31 being the zero register.
func (t step) reg(r arch.Reg) taken.Value {
	if r == 31 {
		return taken.Value{}
	}
	return t.s.Regs[r]
}

// set leaves a number in a register, 31 being the zero register.
func (t step) set(r arch.Reg, v taken.Value, known bool) {
	if r == 31 {
		return
	}
	if !known {
		v = t.w.Fresh(t.i, r)
	}
	t.s.Regs[r] = v
}

// at is an address: a register, 31 being SP, and a number.
func (t step) at(base arch.Reg, offset int64) taken.Value {
	v := t.s.Regs[base]
	v.Off += offset
	return v
}

// store writes a number to memory.
func (t step) store(at taken.Value, bytes int, v taken.Value, known bool) {
	t.w.Spill(t.s, at, bytes, v, known)
	if !known {
		v = taken.Value{}
	}
	t.w.Store(t.s, t.i, at, v)
}
