package taken

import (
	"math/bits"

	"github.com/kmortem/mortem/kernel/arch"
)

// What follows is for a machine to say what its instructions do.

// Site is the virtual address of an instruction.
func (w *Walk) Site(i int) uint64 { return w.start + uint64(w.places[i].Offset) }

func (w *Walk) fresh(at int, r arch.Reg, slot int64) Value {
	return Value{ID: w.intern(expr{kind: exprFresh, at: at, reg: r, slot: slot})}
}

// Fresh is a number of which nothing is known but that the instruction i left it in a
// register.
func (w *Walk) Fresh(i int, r arch.Reg) Value { return w.fresh(w.places[i].Offset, r, 2) }

// OwnTask is the name of the address of the current task's task_struct.
const OwnTask = -1

// Own is a number that the processor or the task has of its own, by a name: it stays the
// same as long as the task stays. The name is OwnTask, or the offset of a variable in the
// processor's own area, or what the machine chooses.
func (w *Walk) Own(name int64) Value { return Value{ID: w.intern(expr{kind: exprOwn, slot: name})} }

// IsOwn tells whether a number is the one of that name.
func (w *Walk) IsOwn(v Value, name int64) bool {
	return v == w.Own(name)
}

// IsFresh tells whether a number was left by an instruction, so that one of its halves
// is as good.
func (w *Walk) IsFresh(v Value) bool {
	e := &w.exprs[v.ID]
	return e.kind == exprFresh || e.kind == exprLoad && e.size == 4
}

// Bits is a number with bits set, or cleared.
func (w *Walk) Bits(of Value, mask uint64, set bool) Value {
	return Value{ID: w.intern(expr{kind: exprBits, from: of, slot: int64(mask), at: b2i(set)})}
}

// Differ is a number that is zero where two are equal.
func (w *Walk) Differ(a, b Value) Value {
	switch {
	case a == (Value{}):
		return b
	case b == (Value{}):
		return a
	}
	return Value{ID: w.intern(expr{kind: exprDiffer, from: a, to: b})}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Counter is the address of the processor's own counter to which a number from memory
// leads; it is false for a number from elsewhere.
func (w *Walk) Counter(pointer Value) (Value, bool) {
	e := &w.exprs[pointer.ID]
	if e.kind != exprLoad || e.size != 8 || pointer.Off != 0 {
		return Value{}, false
	}
	return Value{ID: w.intern(expr{kind: exprCount, from: e.from})}, true
}

// IsZero asks whether a number is zero.
func (w *Walk) IsZero(v Value) Condition {
	switch e := &w.exprs[v.ID]; {
	case v.ID == Const:
		return Condition{}
	case e.kind == exprDiffer && v.Off == 0:
		return Condition{Asks: Equal, A: e.from, B: e.to}
	case e.kind == exprBits && v.Off == 0 && e.at == 0:
		return w.isMaskClear(e.from, ^uint64(e.slot))
	case v.Off != 0:
		return Condition{Asks: Equal, A: Value{ID: v.ID}, B: Value{Off: -v.Off}}
	}
	return Condition{Asks: Zero, A: v}
}

// isMaskClear asks whether the bits of a mask are clear: one of them, or those of a truth
// value.
func (w *Walk) isMaskClear(v Value, mask uint64) Condition {
	switch {
	case mask&(mask-1) == 0 && mask != 0:
		return w.IsBitClear(v, bits.TrailingZeros64(mask))
	case mask == 0xff || mask == 0xffff || mask == 1<<32-1:
		return w.IsZero(v)
	}
	return Condition{}
}

// IsEqual asks whether two numbers are equal.
func (w *Walk) IsEqual(a, b Value) Condition { return w.IsZero(w.Differ(a, b)) }

// IsBitClear asks whether a bit of a number is clear.
func (w *Walk) IsBitClear(v Value, bit int) Condition {
	e := &w.exprs[v.ID]
	switch {
	case v.ID == Const || v.Off != 0 || bit < 0 || bit > 63:
		return Condition{}
	case e.kind == exprBits && uint64(e.slot)>>bit&1 == 0:
		return w.IsBitClear(e.from, bit)
	}
	return Condition{Asks: BitClear, A: v, Bit: bit}
}

// OnStack tells whether an address is in the function's frame.
func (w *Walk) OnStack(at Value) bool {
	e := &w.exprs[at.ID]
	return at.ID != Const && e.kind == exprEntry && e.reg == w.conv.SP
}

// Load is what is in memory at an address.
func (w *Walk) Load(s *State, at Value, size int) Value {
	if w.OnStack(at) {
		if v, ok := s.stack[at.Off]; ok && size == 8 && v.ID != unknown {
			return v
		}
	}
	return Value{ID: w.intern(expr{kind: exprLoad, from: at, size: size})}
}

// Spill stores a number of size bytes at an address, if that is in the frame.
func (w *Walk) Spill(s *State, at Value, size int, v Value, known bool) {
	if !w.OnStack(at) {
		return
	}
	for slot := at.Off - 7; slot < at.Off+int64(max(size, 1)); slot++ {
		if _, found := s.stack[slot]; found {
			s.stack[slot] = Value{ID: unknown}
		}
	}
	if !known || size != 8 {
		v = Value{ID: unknown}
	}
	for slot := at.Off; slot < at.Off+int64(max(size, 1)); slot += 8 {
		s.stack[slot], v = v, Value{ID: unknown}
	}
}

// Store gives back what an instruction that writes a number to memory may give back; v is
// the zero Value where the number is not known. A bit that is set in it is not given back.
func (w *Walk) Store(s *State, i int, at, v Value) {
	if w.OnStack(at) {
		return
	}
	if e := &w.exprs[v.ID]; e.kind == exprBits && e.at != 0 {
		w.ClearBits(s, at, ^uint64(e.slot), true)
		return
	}
	s.give(at, Given{Site: w.Site(i), Store: true})
}

// ClearBits gives back the bits of a word in memory that an instruction clears. A mask
// that is not known may have any.
func (w *Walk) ClearBits(s *State, at Value, mask uint64, known bool) {
	kept := s.held[:0:0]
	for _, h := range s.held {
		cleared := h.Bit < 0 || !known || h.Bit < 64 && mask>>h.Bit&1 != 0
		if h.where != at || h.Op == CompareExchange || !cleared {
			kept = append(kept, h)
		} else {
			s.unsure(at)
		}
	}
	s.held = kept
}

// Exchange takes something by comparing and exchanging size bytes: where old, what was
// there, is equal to a number. done, if it is not the zero Value, is zero where the
// exchange was made at all.
func (w *Walk) Exchange(s *State, i int, at Value, size int, old, expected, done Value) {
	h := held{Taken: Taken{Site: w.Site(i), Op: CompareExchange, Size: size, Bit: -1, where: at}}
	t := test{id: old.ID, success: IfEqual, with: expected}
	if expected == (Value{}) {
		t.success = IfZero
	}
	h.after(t, done)
	s.take(h)
}

// TakeBit takes something by setting a bit in size bytes: where old, what was there, has
// it clear. bit is -1 where it is not known. done is as for Exchange.
func (w *Walk) TakeBit(s *State, i int, at Value, size, bit int, old, done Value) {
	h := held{Taken: Taken{Site: w.Site(i), Op: SetBit, Size: size, Bit: bit, where: at}}
	h.after(test{id: old.ID, success: IfBitClear}, done)
	s.take(h)
}

func (h *held) after(t test, done Value) {
	h.test = t
	if done != (Value{}) {
		h.test, h.then = test{id: done.ID, success: IfZero}, t
	}
}

// Try takes something by an instruction whose flags tell whether it has: what they ask is
// to be put into s.Flags.
func (w *Walk) Try(s *State, i int, at Value, op Op, size, bit int) Condition {
	s.take(held{Taken: Taken{Site: w.Site(i), Op: op, Size: size, Bit: bit, where: at}})
	return Condition{Asks: Took, Site: w.Site(i)}
}

// readerBias is what a reader adds to a queued rwlock (_QR_BIAS in
// include/asm-generic/qrwlock.h, since 4.8 1 << 9, before 1 << 8).
const (
	readerBias    = 1 << 9
	readerBiasOld = 1 << 8
)

// Add adds a number, if it is known, to size bytes in memory atomically: to the
// processor's own counter of something that is counted so, or to a lock with readers.
func (w *Walk) Add(s *State, i int, at Value, size int, n int64, known bool) {
	if e := &w.exprs[at.ID]; e.kind == exprCount && at.Off == 0 {
		w.Count(s, i, at, size, n)
		return
	}
	switch {
	case known && (n == readerBias || n == readerBiasOld) && size == 4:
		s.take(held{Taken: Taken{Site: w.Site(i), Op: AddReader, Size: size, Bit: -1, Sure: true, where: at}})
	case !known || n < 0:
		w.Store(s, i, at, Value{})
	}
}

// Count counts the processor's own counter up or down: a percpu_rw_semaphore is taken
// and given back so.
func (w *Walk) Count(s *State, i int, counter Value, size int, n int64) {
	where := w.exprs[counter.ID].from
	if n > 0 {
		s.take(held{Taken: Taken{Site: w.Site(i), Op: PerCPUCount, Size: size, Bit: -1, Sure: true, where: where}})
	} else if n < 0 {
		s.give(where, Given{Site: w.Site(i), Store: true})
	}
}

// EndExclusive ends an atomic operation that an exclusive load began, by storing size
// bytes: what it does is told by where the stored number comes from. status is left in a
// register, and zero where the store was made.
func (w *Walk) EndExclusive(s *State, i int, at Value, size int, v, status Value) {
	x := s.Exclusive
	s.Exclusive = Exclusive{}
	loaded := Value{ID: x.Loaded}
	e := &w.exprs[v.ID]
	switch {
	case x.Loaded == 0 || x.At != at:
		w.Store(s, i, at, Value{})
	case v.ID == x.Loaded:
		w.Add(s, i, at, size, v.Off, true)
	case e.kind == exprBits && e.from == loaded:
		w.setBits(s, i, at, size, uint64(e.slot), e.at != 0, loaded, status)
	case x.Known:
		w.Exchange(s, i, at, size, loaded, x.Expect, status)
	default:
		w.Store(s, i, at, Value{})
	}
}

// SetBits sets or clears bits of size bytes in memory atomically; old is what was there.
func (w *Walk) SetBits(s *State, i int, at Value, size int, mask uint64, set bool, old Value) {
	w.setBits(s, i, at, size, mask, set, old, Value{})
}

func (w *Walk) setBits(s *State, i int, at Value, size int, mask uint64, set bool, old, done Value) {
	if !set {
		w.ClearBits(s, at, mask, true)
		return
	}
	if bits.OnesCount64(mask) == 1 {
		w.TakeBit(s, i, at, size, bits.TrailingZeros64(mask), old, done)
	}
}
