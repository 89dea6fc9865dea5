package arm64

import (
	"encoding/binary"

	"github.com/kmortem/mortem/kernel/arch"
)

// size is the length of each instruction in bytes.
const size = 4

// word is the encoding of an instruction (Arm ARM C4).
type word uint32

func wordAt(code []byte) word { return word(binary.LittleEndian.Uint32(code)) }

// is tells whether the bits under a mask have a value.
func (w word) is(mask, value uint32) bool { return uint32(w)&mask == value }

// rd, rn, rt2 and rm are the register fields, 31 being SP or the zero register.
func (w word) rd() arch.Reg  { return arch.Reg(w & 31) }
func (w word) rn() arch.Reg  { return arch.Reg(w >> 5 & 31) }
func (w word) rt2() arch.Reg { return arch.Reg(w >> 10 & 31) }
func (w word) rm() arch.Reg  { return arch.Reg(w >> 16 & 31) }

// signed is a field of the encoding as a signed number.
func (w word) signed(low, width uint) int64 {
	return int64(int32(w<<(32-low-width))) >> (32 - width)
}

// flow is what an instruction does to the flow of control, and for a direct
// branch the distance in bytes to where it leads.
func (w word) flow() (f arch.Flow, rel int64, direct bool) {
	switch {
	case w.is(0xfc000000, 0x14000000): // B
		return arch.Jump, w.signed(0, 26) * 4, true
	case w.is(0xfc000000, 0x94000000): // BL
		return arch.Call, w.signed(0, 26) * 4, true
	case w.is(0xff000000, 0x54000000), w.is(0x7e000000, 0x34000000): // B.cond, BC.cond; CBZ, CBNZ
		return arch.Branch, w.signed(5, 19) * 4, true
	case w.is(0x7e000000, 0x36000000): // TBZ, TBNZ
		return arch.Branch, w.signed(5, 14) * 4, true
	case w.is(0xfe000000, 0xd6000000): // through a register, with or without authentication
		switch w >> 21 & 15 {
		case 0, 8:
			return arch.Jump, 0, false // BR, BRAA
		case 1, 9:
			return arch.Call, 0, false // BLR, BLRAA
		}
		return arch.Return, 0, false // RET, RETAA, ERET
	case w.is(0xffe0001f, 0xd4200000), w.is(0xffff0000, 0): // BRK, UDF
		return arch.Stop, 0, false
	}
	return arch.Next, 0, false
}

// pair takes a load or store of two 64-bit registers with a base apart.
type pair struct {
	load        bool
	base        arch.Reg
	offset      int64 // of the first in memory, from the base before the instruction
	moves       int64 // what the instruction adds to the base
	first, next arch.Reg
}

// pairOf decodes STP and LDP of 64-bit registers in all their forms, and STR and LDR
// of one, with next 31.
func (w word) pairOf() (p pair, ok bool) {
	p.base, p.first, p.next = w.rn(), w.rd(), 31
	switch {
	case w.is(0xfe000000, 0xa8000000): // of pairs, but STGP and LDPSW
		imm := w.signed(15, 7) * 8
		p.load, p.next = w>>22&1 != 0, w.rt2()
		switch w >> 23 & 3 {
		case 1: // post-indexed
			p.moves = imm
		case 3: // pre-indexed
			p.offset, p.moves = imm, imm
		default:
			p.offset = imm
		}
		return p, true
	case w.is(0xff800000, 0xf9000000): // with an unsigned offset
		p.load, p.offset = w>>22&1 != 0, int64(w>>10&0xfff)*8
		return p, true
	case w.is(0xffa00000, 0xf8000000): // with an offset of 9 bits
		imm := w.signed(12, 9)
		p.load = w>>22&1 != 0
		switch w >> 10 & 3 {
		case 0:
			p.offset = imm
		case 1:
			p.moves = imm
		case 3:
			p.offset, p.moves = imm, imm
		default:
			return pair{}, false
		}
		return p, true
	}
	return pair{}, false
}

// addition decodes ADD and SUB of a number to a 64-bit register, which MOV to and
// from SP is too.
func (w word) addition() (to, from arch.Reg, imm int64, ok bool) {
	if !w.is(0xbf800000, 0x91000000) {
		return 0, 0, 0, false
	}
	imm = int64(w >> 10 & 0xfff)
	if w>>22&1 != 0 {
		imm <<= 12
	}
	if w>>30&1 != 0 {
		imm = -imm
	}
	return w.rd(), w.rn(), imm, true
}
