// Package taken answers what a function has taken and not given back when it is at one
// of its instructions, such as a lock: it follows the function's code on all ways from
// its entry to there, and where the address of each thing came from. What the code of
// an architecture means is told by a Machine.
package taken

import (
	"slices"

	"github.com/kmortem/mortem/kernel/arch"
)

// Machine is an architecture whose code can be followed.
type Machine interface {
	// Convention is how functions call each other.
	Convention() Convention
	// Code decodes a function, which lies at a virtual address. What cannot be decoded
	// ends the ways that lead there.
	Code(code []byte, start uint64) Code
}

// Convention is how functions of an architecture call each other.
type Convention struct {
	SP        arch.Reg
	Result    arch.Reg   // of a function
	Args      []arch.Reg // the first arguments
	Kept      uint64     // registers that a function gives back as it was given them, a bit each
	Registers int        // one more than the highest number of a general register
	// Entry is the distance in bytes from the stack pointer at a function's entry up to
	// the canonical frame address: that of the return address, where a call pushes it.
	Entry int64
}

// Code is a function's instructions.
type Code interface {
	Len() int // the number of instructions
	Place(i int) Place
	// Step carries out an instruction that is neither a call nor a jump.
	Step(w *Walk, s *State, i int)
	// Condition is what the branch that is the instruction i asks.
	Condition(w *Walk, s *State, i int) Condition
}

// Place is where an instruction is, and where it leads.
type Place struct {
	Offset, Len int // bytes from the function's start; bytes
	Flow        arch.Flow
	To          int // offset of what it leads to, with Direct; may be outside of the function
	Direct      bool
}

// Effect is what a called function does with something that its callers take and
// give back, such as a lock.
type Effect struct {
	Take, Give bool
	Arg        int     // the argument that is its address, from 0
	Fixed      uint64  // the address itself, where it is always the same; 0 if not
	Success    Success // of taking
	Tag        int     // for the caller's own use
}

// Success is by what a number tells that something was taken.
type Success uint8

// The ways.
const (
	Always Success = iota
	IfNonzero
	IfZero
	IfBitClear // that of Taken.Bit
	IfEqual    // to another number
)

// Taken is something that a function took on a way to one of its instructions, and
// did not give back.
type Taken struct {
	Site   uint64 // virtual address of the instruction that took it
	Target uint64 // the function that was called; 0 for an instruction
	Tag    int    // of the effect
	Op     Op     // of an instruction
	Size   int    // bytes of its operand
	Bit    int    // of SetBit, -1 where it is not in the code
	// Sure tells that it was taken on all ways there.
	Sure bool

	where Value
}

// Op is by what instruction, or instructions, something was taken.
type Op string

// The operations.
const (
	CompareExchange Op = "cmpxchg"
	SetBit          Op = "bts" // an atomic one that tells what the bit was
	// AddReader adds a reader to a queued rwlock.
	AddReader Op = "add"
	// PerCPUCount counts up a counter of the processor's own; the address is that of
	// the pointer to the counter.
	PerCPUCount Op = "per-CPU count"
)

// Given is something that a function gave back without having taken it before.
type Given struct {
	Site  uint64 // virtual address of the instruction
	Tag   int
	Store bool // by an instruction, and not by a call
	Sure  bool // on all ways

	where Value
}

// Outstanding is what a function has taken and given back when it is at one of its
// instructions.
type Outstanding struct {
	Taken []Taken
	Given []Given

	w     *Walk
	state *State
	args  *State // before the call that has not returned
}

// FrameValues is what is known of a function's frame, to work out addresses with.
type FrameValues struct {
	CFA      uint64
	Register func(arch.Reg) (uint64, bool) // as it is at the instruction
	Entry    func(arch.Reg) (uint64, bool) // as it was when the function was called
	Load     func(addr uint64, size int) (uint64, bool)
	Own      func(name int64) (uint64, bool) // see Walk.Own; nil where none is known
}

// MaxFunction bounds the code of a function that is followed, in bytes.
const MaxFunction = 1 << 16

// Find follows a function's instructions on all ways to the one at an offset. returns
// tells that the offset is where a call returns to that has not returned: what that
// call does is left out. effects tells what a function does, by its address. It is
// false where the code cannot be followed.
func Find(m Machine, code []byte, start uint64, offset int, returns bool, effects func(target uint64) []Effect) (*Outstanding, bool) {
	if len(code) > MaxFunction || offset < 0 || offset > len(code) {
		return nil, false
	}
	w := newWalk(m, code, start, effects)
	at := w.index(offset, returns)
	if at < 0 || !w.run() {
		return nil, false
	}
	return w.outstanding(at, returns)
}

// outstanding is what is known before an instruction of a function that was followed.
func (w *Walk) outstanding(at int, returns bool) (*Outstanding, bool) {
	s := w.before(at)
	if s == nil {
		return nil, false
	}
	o := &Outstanding{w: w, state: s}
	if returns {
		o.args = s.clone()
		w.clobber(s, w.places[at].Offset)
	}
	for _, h := range s.held {
		h.Sure = slices.Contains(s.must, h.where)
		o.Taken = append(o.Taken, h.Taken)
	}
	o.Given = append(o.Given, s.given...)
	return o, true
}

// Address works out the address of something taken. Likely tells that it was read
// from memory, which may have changed since it was taken.
func (o *Outstanding) Address(t *Taken, f *FrameValues) (addr uint64, likely, ok bool) {
	return o.concrete(t.where, f, 0)
}

// GivenAddress works out the address of something given back.
func (o *Outstanding) GivenAddress(g *Given, f *FrameValues) (addr uint64, likely, ok bool) {
	return o.concrete(g.where, f, 0)
}

// Freed tells whether the function took what lies at a virtual address, and gave it back
// on all ways where it took it.
func (o *Outstanding) Freed(addr uint64, f *FrameValues) bool {
	for _, v := range o.state.freed {
		held := slices.ContainsFunc(o.state.held, func(h held) bool { return h.where == v })
		if at, _, ok := o.concrete(v, f, 0); ok && at == addr && !held {
			return true
		}
	}
	return false
}

// Stored tells whether the function has stored anything at a virtual address in its
// frame, on any way. What it has not may be from an earlier call.
func (o *Outstanding) Stored(addr uint64, f *FrameValues) bool {
	base := f.CFA - uint64(o.w.conv.Entry)
	for slot := int64(addr-base) - 7; slot <= int64(addr-base); slot++ {
		if _, found := o.state.stack[slot]; found {
			return true
		}
	}
	return false
}

// Argument works out the argument, from 0, that was passed to the call that has not
// returned.
func (o *Outstanding) Argument(n int, f *FrameValues) (value uint64, likely, ok bool) {
	if o.args == nil || n < 0 || n >= len(o.w.conv.Args) {
		return 0, false, false
	}
	return o.concrete(o.args.Regs[o.w.conv.Args[n]], f, 0)
}

// maxDepth bounds how many pointers are followed to an address.
const maxDepth = 4

// concrete finds a number that has the same origin as the one that is looked for: a
// register or a slot of the frame.
func (o *Outstanding) concrete(v Value, f *FrameValues, depth int) (addr uint64, likely, ok bool) {
	c := &o.w.conv
	if v.ID == Const {
		return uint64(v.Off), false, true
	}
	entrySP := f.CFA - uint64(c.Entry)
	e := o.w.exprs[v.ID]
	if e.kind == exprEntry && e.reg == c.SP {
		return entrySP + uint64(v.Off), false, f.CFA != 0
	}
	for r := range arch.Reg(c.Registers) {
		if have := o.state.Regs[r]; have.ID == v.ID && c.Kept>>r&1 != 0 {
			if n, known := f.Register(r); known {
				return n + uint64(v.Off-have.Off), false, true
			}
		}
	}
	if f.CFA != 0 {
		if slot, have, found := o.slotOf(v.ID); found {
			if n, known := f.Load(entrySP+uint64(slot), 8); known {
				return n + uint64(v.Off-have.Off), false, true
			}
		}
	}
	if e.kind == exprEntry && f.Entry != nil {
		if n, known := f.Entry(e.reg); known {
			return n + uint64(v.Off), false, true
		}
	}
	if e.kind == exprOwn && f.Own != nil {
		if n, known := f.Own(e.slot); known {
			return n + uint64(v.Off), false, true
		}
	}
	if e.kind == exprLoad && depth < maxDepth && e.size >= 4 {
		if at, _, known := o.concrete(e.from, f, depth+1); known {
			if n, known := f.Load(at, e.size); known {
				return n + uint64(v.Off), true, true
			}
		}
	}
	return 0, false, false
}

// slotOf is the lowest slot of the frame that has a number of an origin.
func (o *Outstanding) slotOf(id int) (slot int64, have Value, found bool) {
	for at, v := range o.state.stack {
		if v.ID == id && (!found || at < slot) {
			slot, have, found = at, v, true
		}
	}
	return slot, have, found
}
