package arm64

import (
	"math/bits"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/taken"
)

// ownPerCPU is the name of the number that leads to the processor's own variables.
const ownPerCPU = 1

// compute carries out additions, moves, and what leaves addresses in registers.
func (t step) compute(in word) bool {
	switch {
	case in.is(0x1f800000, 0x11000000):
		t.addition(in)
	case in.is(0x1f200000, 0x0b000000):
		t.sum(in)
	case in.is(0x1fe00000, 0x0b200000): // of an extended register
		t.extended(in)
	case in.is(0x1f000000, 0x10000000): // ADR, ADRP
		page, _ := in.page(t.w.Site(t.i))
		t.set(in.rd(), taken.Value{Off: int64(page)}, true)
	case in.is(0x1f800000, 0x12800000):
		t.move(in)
	case in.is(0xfff00000, 0xd5300000): // MRS
		switch uint32(in >> 5 & 0x7fff) {
		case systemRegister(3, 0, 13, 0, 4), systemRegister(3, 4, 13, 0, 2): // TPIDR_EL1, TPIDR_EL2
			t.set(in.rd(), t.w.Own(ownPerCPU), true)
		case systemRegister(3, 0, 4, 1, 0): // SP_EL0
			t.set(in.rd(), t.w.Own(taken.OwnTask), true)
		default:
			t.set(in.rd(), taken.Value{}, false)
		}
	case in.is(0x3fe00000, 0x3a400000): // CCMN, CCMP
		t.s.Flags = taken.Flags{}
	default:
		return false
	}
	return true
}

// addition carries out ADD and SUB of a number, MOV to and from SP, and CMP.
func (t step) addition(in word) {
	imm := int64(in >> 10 & 0xfff)
	if in>>22&1 != 0 {
		imm <<= 12
	}
	if in>>30&1 != 0 {
		imm = -imm
	}
	wide := in>>31 != 0
	v := t.at(in.rn(), imm)
	known := wide || v.ID == taken.Const || t.w.IsFresh(v)
	if !wide && v.ID == taken.Const {
		v.Off = int64(uint32(v.Off))
	}
	if in>>29&1 == 0 {
		if in.rd() == SP && known {
			t.s.Regs[SP] = v
		} else if in.rd() == SP {
			t.s.Regs[SP] = t.w.Fresh(t.i, SP)
		} else {
			t.set(in.rd(), v, known)
		}
		return
	}
	t.s.Flags = taken.Flags{Zero: t.w.IsEqual(t.at(in.rn(), 0), taken.Value{Off: -imm})}
	t.set(in.rd(), v, known)
}

// sum carries out ADD and SUB of registers, and CMP.
func (t step) sum(in word) {
	a, b := t.reg(in.rn()), t.reg(in.rm())
	subtracts, plain := in>>30&1 != 0, in>>10&0x3f == 0
	if in>>29&1 != 0 {
		t.s.Flags = taken.Flags{}
		if subtracts && plain {
			t.s.Flags.Zero = t.w.IsEqual(a, b)
		}
	}
	if b.ID == taken.Const && in>>22&3 == 0 {
		b.Off <<= in >> 10 & 0x3f
	} else if !plain {
		t.set(in.rd(), taken.Value{}, false)
		return
	}
	wide := in>>31 != 0
	if b.ID == taken.Const && !wide {
		b.Off = signExtend(b.Off, 4)
	}
	switch {
	case b.ID == taken.Const && subtracts:
		a.Off -= b.Off
	case b.ID == taken.Const:
		a.Off += b.Off
	case subtracts:
		t.set(in.rd(), t.w.Differ(a, b), a.ID != taken.Const)
		return
	case a.ID == taken.Const:
		a, b.Off = b, a.Off
		a.Off += b.Off
	default:
		t.set(t.counter(in.rd(), a, b))
		return
	}
	if !wide && a.ID == taken.Const {
		a.Off = int64(uint32(a.Off))
	}
	t.set(in.rd(), a, wide || a.ID == taken.Const || t.w.IsFresh(taken.Value{ID: a.ID}))
}

// counter adds the processor's own offset to a pointer.
func (t step) counter(rd arch.Reg, a, b taken.Value) (arch.Reg, taken.Value, bool) {
	if t.w.IsOwn(a, ownPerCPU) {
		a, b = b, a
	}
	if !t.w.IsOwn(b, ownPerCPU) {
		return rd, taken.Value{}, false
	}
	v, ok := t.w.Counter(a)
	return rd, v, ok
}

// extended carries out ADD and SUB of an extended register.
func (t step) extended(in word) {
	if in>>29&1 != 0 {
		t.s.Flags = taken.Flags{}
		t.set(in.rd(), taken.Value{}, false)
		return
	}
	t.s.Regs[in.rd()] = t.w.Fresh(t.i, in.rd())
}

// move carries out MOVN, MOVZ and MOVK.
func (t step) move(in word) {
	shift := in >> 21 & 3 * 16
	imm := uint64(in>>5&0xffff) << shift
	old := t.reg(in.rd())
	known := true
	switch in >> 29 & 3 {
	case 0:
		imm = ^imm
	case 2:
	default:
		known = old.ID == taken.Const
		imm |= uint64(old.Off) &^ (0xffff << shift)
	}
	if in>>31 == 0 {
		imm &= 1<<32 - 1
	}
	t.set(in.rd(), taken.Value{Off: int64(imm)}, known)
}

// bits carries out logical instructions and bit-fields.
func (t step) bits(in word) bool {
	switch {
	case in.is(0x1f800000, 0x12000000): // with a number
		mask, ok := in.mask()
		t.logical(in, t.reg(in.rn()), taken.Value{Off: int64(mask)}, ok, in.rd() == SP && in>>29&3 != 3)
	case in.is(0x1f000000, 0x0a000000): // with a register
		b := t.reg(in.rm())
		plain := in>>10&0x3f == 0
		if b.ID == taken.Const && in>>22&3 == 0 {
			b.Off, plain = b.Off<<(in>>10&0x3f), true
		}
		if in>>21&1 != 0 { // of its complement
			b.Off, plain = ^b.Off, plain && b.ID == taken.Const
		}
		t.logical(in, t.reg(in.rn()), b, plain, false)
	case in.is(0x7f800000, 0x53000000), in.is(0x7f800000, 0x13000000): // UBFM, SBFM
		t.field(in)
	default:
		return false
	}
	return true
}

// logical carries out AND, ORR, EOR and ANDS.
func (t step) logical(in word, a, b taken.Value, known, toSP bool) {
	if a.ID == taken.Const && b.ID != taken.Const {
		a, b = b, a
	}
	var out taken.Value
	op, number := in>>29&3, b.ID == taken.Const
	fits := in>>31 != 0 || a.ID == taken.Const || t.w.IsFresh(a)
	switch {
	case number && a.ID == taken.Const:
		out.Off = [4]int64{a.Off & b.Off, a.Off | b.Off, a.Off ^ b.Off, a.Off & b.Off}[op]
	case a == b && op != 2, number && b.Off == 0 && (op == 1 || op == 2): // MOV
		out, known = a, known && fits
	case op == 2:
		out = t.w.Differ(a, b)
	case number && op == 1:
		out = t.w.Bits(a, uint64(b.Off), true)
	case number:
		out = t.w.Bits(a, ^uint64(b.Off), false)
	default:
		known = false
	}
	if op == 3 {
		t.s.Flags = taken.Flags{}
		if known {
			t.s.Flags.Zero = t.w.IsZero(out)
		}
	}
	if toSP {
		t.s.Regs[SP] = t.w.Fresh(t.i, SP)
		return
	}
	t.set(in.rd(), out, known)
}

// field carries out bit-fields: a truth value that is extended, and a bit that is taken
// out.
func (t step) field(in word) {
	low, high := in>>16&63, in>>10&63
	v := t.reg(in.rn())
	switch {
	case low == 0 && (high == 7 || high == 15 || high == 31) && t.w.IsFresh(v):
		t.set(in.rd(), v, true)
	case low == high:
		t.set(in.rd(), t.w.Bits(v, ^(uint64(1)<<low), false), true)
	default:
		t.set(in.rd(), taken.Value{}, false)
	}
}

// mask decodes the number of a logical instruction: a run of ones, turned and repeated
// (DecodeBitMasks in the Arm ARM).
func (w word) mask() (uint64, bool) {
	n, turn, ones := w>>22&1, uint(w>>16&63), uint(w>>10&63)
	length := bits.Len32(uint32(n<<6|w>>10&63^63)) - 1
	if length < 1 || w>>31 == 0 && n != 0 {
		return 0, false
	}
	width := uint(1) << length
	ones, turn = ones&(width-1), turn&(width-1)
	if ones == width-1 {
		return 0, false
	}
	part := uint64(1)<<(ones+1) - 1
	if turn != 0 {
		part = part>>turn | part<<(width-turn)
	}
	if width < 64 {
		part &= 1<<width - 1
		for at := width; at < 64; at *= 2 {
			part |= part << at
		}
	}
	if w>>31 == 0 {
		part &= 1<<32 - 1
	}
	return part, true
}
