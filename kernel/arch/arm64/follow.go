package arm64

import (
	"math/bits"

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
