package arm64

import (
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/taken"
)

// pair carries out loads and stores of 64-bit registers, and of pairs of any.
func (t step) pair(in word) bool {
	if !in.is(0x3a000000, 0x28000000) {
		return t.one(in)
	}
	bytes, vector := 4<<(in>>31), in>>26&1 != 0
	if vector {
		bytes = 4 << (in >> 30 & 3)
	}
	imm := in.signed(15, 7) * int64(bytes)
	at := t.at(in.rn(), imm)
	if in>>23&3 == 1 {
		at = t.at(in.rn(), 0) // post-indexed
	}
	next := at
	next.Off += int64(bytes)
	wide := bytes == 8 && !vector
	switch load := in>>22&1 != 0; {
	case !load && vector:
		t.store(at, 2*bytes, taken.Value{}, false)
	case !load:
		t.store(at, bytes, t.reg(in.rd()), wide)
		t.store(next, bytes, t.reg(in.rt2()), wide)
	case !vector:
		sound := !in.is(0x40000000, 0x40000000) // not of LDPSW
		first, second := t.w.Load(t.s, at, bytes), t.w.Load(t.s, next, bytes)
		t.set(in.rd(), first, sound)
		t.set(in.rt2(), second, sound)
	}
	if in>>23&1 != 0 {
		t.s.Regs[in.rn()] = t.at(in.rn(), imm)
	}
	return true
}

// one carries out a load or store of one 64-bit register with a number as offset.
func (t step) one(in word) bool {
	p, ok := in.pairOf()
	if !ok {
		return false
	}
	at := t.at(p.base, p.offset)
	if p.load {
		t.set(p.first, t.w.Load(t.s, at, 8), true)
	} else {
		t.store(at, 8, t.reg(p.first), true)
	}
	if p.moves != 0 {
		t.s.Regs[p.base] = t.at(p.base, p.moves)
	}
	return true
}

// single carries out the other loads and stores of one register.
func (t step) single(in word) bool {
	bytes, opc, vector := 1<<(in>>30), in>>22&3, in>>26&1 != 0
	var at taken.Value
	known := true
	switch {
	case in.is(0x3b000000, 0x39000000): // with an unsigned offset
		if vector && opc > 1 {
			bytes = 16
		}
		at = t.at(in.rn(), int64(in>>10&0xfff)*int64(bytes))
	case in.is(0x3b200000, 0x38000000): // with an offset of 9 bits
		at = t.at(in.rn(), in.signed(12, 9))
		if in>>10&3 == 1 {
			at = t.at(in.rn(), 0) // post-indexed
		}
	case in.is(0x3b200c00, 0x38200800): // with a register
		at, known = t.indexed(in)
	case in.is(0x3b000000, 0x18000000): // relative to itself
		at, known = taken.Value{Off: int64(t.w.Site(t.i)) + in.signed(5, 19)*4}, true
		bytes, opc = 4<<(in>>30&1), 1
		if in>>30 == 3 {
			return true // PRFM
		}
	default:
		return false
	}
	switch {
	case opc == 0 || vector && opc == 2:
		if known {
			t.store(at, bytes, t.reg(in.rd()), !vector && bytes >= 4)
		}
	case vector || bytes == 8 && opc == 2: // PRFM
	default:
		t.set(in.rd(), t.w.Load(t.s, at, bytes), known && opc == 1 && bytes >= 4)
	}
	if in.is(0x3b200400, 0x38000400) { // pre- and post-indexed
		t.s.Regs[in.rn()] = t.at(in.rn(), in.signed(12, 9))
	}
	return true
}

// indexed is the address of an operand with a register as offset.
func (t step) indexed(in word) (taken.Value, bool) {
	index := t.reg(in.rm())
	if index.ID != taken.Const || in>>13&7 != 3 || in>>12&1 != 0 {
		return taken.Value{}, false
	}
	return t.at(in.rn(), index.Off), true
}

// ordered carries out exclusive and ordered loads and stores, and compare and swap.
func (t step) ordered(in word) bool {
	if in.is(0x3f200c00, 0x19000000) { // LDAPUR, STLUR
		at := t.at(in.rn(), in.signed(12, 9))
		t.plain(in, at, in>>22&3 != 0)
		return true
	}
	if !in.is(0x3f000000, 0x08000000) {
		return false
	}
	at, load := t.at(in.rn(), 0), in>>22&1 != 0
	switch in>>21&1 | in>>22&2 {
	case 0: // exclusive
		t.exclusive(in, at, load)
	case 2: // ordered
		t.plain(in, at, load)
	case 3: // CAS
		old, expected := t.w.Fresh(t.i, in.rm()), t.reg(in.rm())
		t.w.Exchange(t.s, t.i, at, 1<<(in>>30), old, expected, taken.Value{})
		t.set(in.rm(), old, true)
	default: // of pairs
		for _, r := range []arch.Reg{in.rd(), in.rt2(), in.rm(), in.rm() | 1} {
			t.set(r, taken.Value{}, false)
		}
	}
	return true
}

// plain carries out a load or store of one register at an address.
func (t step) plain(in word, at taken.Value, load bool) {
	bytes := 1 << (in >> 30)
	if load {
		t.set(in.rd(), t.w.Load(t.s, at, bytes), bytes >= 4)
	} else {
		t.store(at, bytes, t.reg(in.rd()), bytes >= 4)
	}
}

func (t step) exclusive(in word, at taken.Value, load bool) {
	if load {
		v := t.w.Fresh(t.i, in.rd())
		t.s.Exclusive = taken.Exclusive{At: at, Loaded: v.ID}
		t.set(in.rd(), v, true)
		return
	}
	status := t.w.Fresh(t.i, in.rm())
	t.w.EndExclusive(t.s, t.i, at, 1<<(in>>30), t.reg(in.rd()), status)
	t.set(in.rm(), status, true)
}

// atomic carries out the atomic instructions of the Large System Extensions.
func (t step) atomic(in word) bool {
	if !in.is(0x3f200c00, 0x38200000) {
		return false
	}
	at, bytes := t.at(in.rn(), 0), 1<<(in>>30)
	operand, old := t.reg(in.rm()), t.w.Fresh(t.i, in.rd())
	known := operand.ID == taken.Const
	switch op := in >> 12 & 15; {
	case op == 0:
		t.w.Add(t.s, t.i, at, bytes, signExtend(operand.Off, bytes), known)
	case op == 1 && known, op == 3 && known: // LDCLR, LDSET
		t.w.SetBits(t.s, t.i, at, bytes, uint64(operand.Off), op == 3, old)
	case op == 1:
		t.w.ClearBits(t.s, at, 0, false)
	case op == 8 || op >= 4 && op < 8: // SWP; the greater or lesser
		t.store(at, bytes, taken.Value{}, false)
	case op == 12: // LDAPR
		t.plain(in, at, true)
		return true
	}
	t.set(in.rd(), old, true)
	return true
}

// signExtend takes the lowest bytes of a number as a signed one.
func signExtend(n int64, bytes int) int64 {
	shift := 64 - 8*min(bytes, 8)
	return n << shift >> shift
}
