package unwind

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/ctype"
)

// orcEntry is a struct orc_entry as it lies in memory
// (arch/x86/include/asm/orc_types.h): how to find the stack pointer and the frame
// pointer of the caller.
type orcEntry struct {
	spOffset int16
	bpOffset int16
	bits     uint16 // in the order of orcForm
}

// orcEntrySize is sizeof(struct orc_entry), the same in all releases.
const orcEntrySize = 6

// orcUnreadable marks entries whose memory the dump has not.
const orcUnreadable = 0xffff

// The registers that the offsets count from (ORC_REG_*), by the numbers that they
// had from 4.14 on; SP_INDIRECT and BP_INDIRECT lead to a word that holds the
// stack pointer.
const (
	orcRegUndefined  = 0
	orcRegPrevSP     = 1
	orcRegDX         = 2
	orcRegDI         = 3
	orcRegBP         = 4
	orcRegSP         = 5
	orcRegR10        = 6
	orcRegR13        = 7
	orcRegBPIndirect = 8
	orcRegSPIndirect = 9
)

// orcRegsNew gives the registers those numbers that have others since the 7
// releases (7.2 has them, 6.18 not).
var orcRegsNew = [16]uint8{
	0: orcRegUndefined, 2: orcRegDX, 3: orcRegSP, 4: orcRegBP, 5: orcRegDI, 6: orcRegR10, 7: orcRegR13,
	8: orcRegPrevSP, 9: orcRegSPIndirect, 10: orcRegBPIndirect,
	1: orcRegNone, 11: orcRegNone, 12: orcRegNone, 13: orcRegNone, 14: orcRegNone, 15: orcRegNone,
}

var orcRegsOld = [16]uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// orcRegNone is a number that no register has.
const orcRegNone = 15

// orcRegsOf tells by the table of the kernel image how its registers are
// numbered. The types are the same, so that the entries must tell: nearly all
// frames are found by the stack pointer, which is 5 or 3, and next to none by DI,
// which is the other one.
func orcRegsOf(entries []orcEntry) *[16]uint8 {
	var count [16]int
	for _, e := range entries {
		if e.bits != orcUnreadable {
			count[e.bits&15]++
		}
	}
	if count[3] > count[5] {
		return &orcRegsNew
	}
	return &orcRegsOld
}

// orcKind is what lies at the top of a frame, in one numbering for all releases.
type orcKind uint8

const (
	orcUndefined orcKind = iota // no unwind data: the code is of no function known to objtool
	orcEnd                      // there is no caller
	orcCall                     // a return address
	orcRegs                     // a struct pt_regs
	orcIret                     // its last five words
	orcBad
)

// orcForm is where a release keeps what in the third word of an orc_entry, as
// bit positions. Until 6.3 the type had 2 bits and began with a call, and a bit
// of its own marked the end of the stack (none until 4.17: where sp_reg is
// undefined, the stack ends). Since 6.4 it has 3 bits, and two more values for
// undefined and end. Since 6.3, and in stable releases before, a bit says that
// the caller's address is that of an instruction and not a return address.
type orcForm struct {
	typeBits    uint8
	hasEnd      bool
	end, signal uint8
	hasSignal   bool
	kinds       [8]orcKind
	regs        *[16]uint8 // by the numbers of the release, see orcRegsOf
}

var (
	orcKindsOld = [8]orcKind{orcCall, orcRegs, orcIret, orcBad, orcBad, orcBad, orcBad, orcBad}
	orcKindsNew = [8]orcKind{orcUndefined, orcEnd, orcCall, orcRegs, orcIret, orcBad, orcBad, orcBad}
)

// orcFormOf reads the form off the kernel's type.
func orcFormOf(t *ctype.Type) (orcForm, error) {
	if t.Size() != orcEntrySize {
		return orcForm{}, fmt.Errorf("struct orc_entry has %d bytes instead of %d", t.Size(), orcEntrySize)
	}
	typ, err := t.Field("type")
	if err != nil {
		return orcForm{}, err
	}
	form := orcForm{typeBits: typ.BitSize, kinds: orcKindsOld, regs: &orcRegsOld}
	switch typ.BitSize {
	case 2:
	case 3:
		form.kinds = orcKindsNew
	default:
		return orcForm{}, fmt.Errorf("orc_entry.type has %d bits", typ.BitSize)
	}
	form.end, form.hasEnd = orcBit(t, "end")
	form.signal, form.hasSignal = orcBit(t, "signal")
	return form, nil
}

// orcBit is the place of a bit in the third word.
func orcBit(t *ctype.Type, name string) (uint8, bool) {
	f, err := t.Field(name)
	bit := f.Offset*8 + int64(f.BitOffset) - 32
	if err != nil || f.BitSize != 1 || bit < 0 || bit > 15 {
		return 0, false
	}
	return uint8(bit), true
}

// orcRule is a decoded entry.
type orcRule struct {
	kind         orcKind
	spReg, bpReg uint8
	spOffset     int16
	bpOffset     int16
	signal       bool // the caller's address is exact
}

func (f *orcForm) decode(e orcEntry) orcRule {
	r := orcRule{spReg: f.regs[e.bits&15], bpReg: f.regs[e.bits>>4&15], spOffset: e.spOffset, bpOffset: e.bpOffset}
	r.kind = f.kinds[e.bits>>8&(1<<f.typeBits-1)&7]
	if e.bits == orcUnreadable {
		r.kind = orcBad
		return r
	}
	if f.typeBits == 2 && r.spReg == orcRegUndefined {
		r.kind = orcEnd
		if f.hasEnd && e.bits>>f.end&1 == 0 {
			r.kind = orcUndefined
		}
	}
	r.signal = r.kind == orcRegs || r.kind == orcIret
	if f.hasSignal {
		r.signal = e.bits>>f.signal&1 != 0
	}
	return r
}
