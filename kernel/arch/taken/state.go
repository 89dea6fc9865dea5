package taken

import (
	"maps"
	"slices"
)

// maxRegisters is one more than the highest number of a general register.
const maxRegisters = 32

// Value is a number in terms of one whose origin has an id.
type Value struct {
	ID  int
	Off int64
}

// Const is the id of numbers that are in the code.
const Const = 0

// unknown is the id, on the stack only, of what is not known.
const unknown = 1

// held is something taken, with what it depends on.
type held struct {
	Taken
	test test // whether it was taken, unless that is certain
	then test // what tells it later on as well
}

// test is the number that tells whether something was taken; an ID of 0 is none.
type test struct {
	id      int
	success Success
	with    Value // of IfEqual
}

// State is what is known before an instruction.
type State struct {
	Regs  [maxRegisters]Value
	Flags Flags
	// Exclusive is what the last exclusive load has read, of a machine that has them.
	Exclusive Exclusive

	stack map[int64]Value // what was stored on a way here, by distance from the stack pointer at entry
	held  []held
	given []Given
	freed []Value // what was taken and given back again
	// must is what is held on all ways, wherever it was taken on each.
	must []Value
}

// Flags is what a processor's flags tell: what the branch would ask that is taken when
// they say zero or equal, and what the branch would ask that is taken on a carry.
type Flags struct{ Zero, Carry Condition }

// Exclusive is memory that was read for an atomic operation which a later store is to
// end.
type Exclusive struct {
	At     Value
	Loaded int   // id of what was read
	Expect Value // what it was found to be equal to, with Known
	Known  bool
}

// Asks is what a branch asks.
type Asks uint8

// What branches ask.
const (
	Nothing  Asks = iota // that is of interest
	Zero                 // whether A is zero
	BitClear             // whether a bit of A is
	Equal                // whether A and B are equal
	Took                 // whether the atomic instruction at Site took what it tried to
)

// Condition is what a branch asks.
type Condition struct {
	Asks Asks
	A, B Value
	Bit  int
	Site uint64
	// Not turns it around.
	Not bool
}

// Negated asks the opposite.
func (c Condition) Negated() Condition {
	c.Not = !c.Not
	return c
}

func (s *State) clone() *State {
	c := *s
	c.stack = maps.Clone(s.stack)
	c.held, c.given, c.must, c.freed = slices.Clone(s.held), slices.Clone(s.given), slices.Clone(s.must), slices.Clone(s.freed)
	return &c
}

// same tells whether two states are equal.
func (s *State) same(o *State) bool {
	return s.Regs == o.Regs && s.Flags == o.Flags && s.Exclusive == o.Exclusive && maps.Equal(s.stack, o.stack) &&
		slices.Equal(s.held, o.held) && slices.Equal(s.given, o.given) && slices.Equal(s.must, o.must) && slices.Equal(s.freed, o.freed)
}

// sure notes that something is held, whatever happened before.
func (s *State) sure(where Value) {
	if !slices.Contains(s.must, where) {
		s.must = append(s.must, where)
	}
}

// unsure notes that something was given back.
func (s *State) unsure(where Value) {
	s.free(where)
	s.must = slices.DeleteFunc(s.must, func(v Value) bool { return v == where })
}

func (s *State) free(where Value) {
	if !slices.Contains(s.freed, where) && len(s.freed) < maxHeld {
		s.freed = append(s.freed, where)
	}
}

// maxHeld bounds what is kept of one function.
const maxHeld = 64

func (s *State) take(h held) {
	s.freed = slices.DeleteFunc(s.freed, func(v Value) bool { return v == h.where })
	if h.Sure {
		s.sure(h.where)
	}
	if old := find(s.held, &h); old != nil {
		old.test, old.then = h.test, h.then
	} else if len(s.held) < maxHeld {
		s.held = append(s.held, h)
	}
}

func find(list []held, h *held) *held {
	for i := range list {
		if list[i].Site == h.Site && list[i].where == h.where {
			return &list[i]
		}
	}
	return nil
}

// give takes something off what is held, or notes that it was not.
func (s *State) give(where Value, g Given) {
	kept, found := s.held[:0:0], false
	for _, h := range s.held {
		if h.where == where && (g.Store || h.Target == 0 || h.Tag == g.Tag) {
			found = true
			s.unsure(where)
			continue
		}
		kept = append(kept, h)
	}
	s.held = kept
	if !found && len(s.given) < maxHeld && !g.Store {
		g.where, g.Sure = where, true
		for i := range s.given {
			if s.given[i].Site == g.Site && s.given[i].where == where {
				return
			}
		}
		s.given = append(s.given, g)
	}
}

// decided is what is known on one way of a branch: whether something was taken may be
// what it asked. truth is whether the way is the one on which that is so.
func (s *State) decided(c Condition, truth bool) *State {
	if c.Not {
		truth = !truth
	}
	if c.Asks == Nothing {
		return s
	}
	out := s.clone()
	if x := &out.Exclusive; truth && x.Loaded != 0 {
		switch {
		case c.Asks == Zero && c.A == (Value{ID: x.Loaded}):
			x.Expect, x.Known = Value{}, true
		case c.Asks == Equal && c.A == (Value{ID: x.Loaded}):
			x.Expect, x.Known = c.B, true
		case c.Asks == Equal && c.B == (Value{ID: x.Loaded}):
			x.Expect, x.Known = c.A, true
		}
	}
	kept := out.held[:0]
	for _, h := range out.held {
		if took, known := h.tells(c, truth); known {
			if !took {
				continue
			}
			h.test, h.then = h.then, test{}
			out.sure(h.where)
		}
		kept = append(kept, h)
	}
	out.held = kept
	return out
}

// tells tells whether something was taken, if the answer to what a branch asks does.
func (h *held) tells(c Condition, truth bool) (took, known bool) {
	if c.Asks == Took {
		return truth, h.Site == c.Site && h.Target == 0
	}
	t := &h.test
	if t.id == 0 || c.A.ID != t.id && (c.Asks != Equal || c.B.ID != t.id) {
		return false, false
	}
	switch t.success {
	case IfEqual:
		self := Value{ID: t.id}
		return truth, c.Asks == Equal && (c.A == self && c.B == t.with || c.B == self && c.A == t.with)
	case IfBitClear:
		return truth, c.Asks == BitClear && c.Bit == h.Bit || c.Asks == Zero && truth
	}
	// A truth value is in the lowest bit, and an error number is negative.
	if c.Asks != Zero && (c.Asks != BitClear || c.Bit != 0 && (t.success != IfZero || c.Bit != 31 && c.Bit != 63)) {
		return false, false
	}
	return truth == (t.success == IfZero), true
}
