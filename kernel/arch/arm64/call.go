package arm64

import (
	"github.com/kmortem/mortem/kernel/arch"
)

// CallBefore implements arch.Arch: BL, BLR, and BLR with authentication.
func (Arch) CallBefore(code []byte) bool {
	if len(code) < size {
		return false
	}
	flow, _, _ := wordAt(code[len(code)-size:]).flow()
	return flow == arch.Call
}

// CallTarget implements arch.Arch.
func (Arch) CallTarget(code []byte, end int, start uint64) (uint64, bool) {
	if end < size || end > len(code) || end%size != 0 {
		return 0, false
	}
	flow, rel, direct := wordAt(code[end-size:]).flow()
	return start + uint64(end-size) + uint64(rel), flow == arch.Call && direct
}

// Argument implements arch.Arch.
func (Arch) Argument(code []byte, end int, start uint64, r arch.Reg) (arch.Origin, bool) {
	if end < size || end > len(code) || end%size != 0 {
		return arch.Origin{}, false
	}
	targets := branchTargets(code)
	o := origin{arch.Origin{Base: r, HasBase: true}}
	for at := end - 2*size; ; at -= size {
		if !o.HasBase || o.Base == SP {
			return o.Origin, true
		}
		if kept(o.Base) && unchanged(code[at+size:end-size], o.Base) {
			return o.Origin, true
		}
		if at < 0 || targets[at+size] {
			return arch.Origin{}, false // another path leads here
		}
		in := wordAt(code[at:])
		switch f, _, _ := in.flow(); {
		case f != arch.Next && f != arch.Branch:
			return arch.Origin{}, false
		case !in.writes(o.Base):
			continue
		}
		if o.Load != 0 || !o.from(in, start+uint64(at)) {
			return arch.Origin{}, false
		}
		if o.HasBase && o.Base == SP && !unchanged(code[at+size:end-size], SP) {
			return arch.Origin{}, false
		}
	}
}

// origin is one that is being followed.
type origin struct{ arch.Origin }

// kept tells whether functions give a register back as it was.
func kept(r arch.Reg) bool { return r >= 19 && r <= FP }

// branchTargets are the offsets in code that branches in it lead to.
func branchTargets(code []byte) map[int]bool {
	targets := map[int]bool{}
	for at := 0; at+size <= len(code); at += size {
		if flow, rel, direct := wordAt(code[at:]).flow(); direct && flow != arch.Call {
			targets[at+int(rel)] = true
		}
	}
	return targets
}

// unchanged tells whether no instruction of a part writes to a register.
func unchanged(code []byte, r arch.Reg) bool {
	for at := 0; at+size <= len(code); at += size {
		if wordAt(code[at:]).writes(r) {
			return false
		}
	}
	return true
}

// writes tells whether an instruction may write to a register. SP and the zero
// register have one number: an instruction that writes to either counts.
func (w word) writes(r arch.Reg) bool {
	if p, ok := w.pairOf(); ok {
		return p.load && (p.first == r || p.next == r && p.next != 31) || p.moves != 0 && p.base == r
	}
	flow, _, _ := w.flow()
	switch {
	case flow != arch.Next:
		return flow == arch.Call && !kept(r) && r != SP
	case w.is(0xfffff01f, 0xd503201f), w.is(0xfffff000, 0xd5033000): // hints, barriers
		return false
	case w.is(0xfff00000, 0xd5100000): // MSR
		return false
	case w.is(0x3f000000, 0x08000000): // exclusive and ordered loads and stores, compare and swap
		return w.rd() == r || w.rm() == r || w.rt2() == r
	case w.is(0x3f200c00, 0x38200000): // atomic operations of LSE
		return w.rd() == r
	case w.is(0x3b000000, 0x39000000) && !w.is(0x00c00000, 0): // loads with an unsigned offset
		return w.rd() == r && !w.is(0x04000000, 0x04000000)
	case w.is(0x3b000000, 0x39000000): // stores
		return false
	case w.is(0x3b200000, 0x38000000): // loads and stores with an offset of 9 bits
		return w.rd() == r && !w.is(0x00c00000, 0) && !w.is(0x04000000, 0x04000000) || w>>10&1 != 0 && w.rn() == r
	}
	return w.rd() == r
}

// from makes an origin one of what an instruction computes its base from.
func (o *origin) from(w word, addr uint64) bool {
	if to, from, imm, ok := w.addition(); ok && to == o.Base {
		o.Base, o.Offset = from, o.Offset+imm
		return true
	}
	p, ok := w.pairOf()
	switch {
	case ok:
		if o.Offset != 0 || p.moves != 0 {
			return false
		}
		o.Load, o.Offset = 8, p.offset
		if p.next == o.Base && p.next != p.first {
			o.Offset += 8
		}
		o.Base = p.base
		return true
	case w.is(0xffe0ffe0, 0xaa0003e0): // MOV of a register
		o.Base = w.rm()
		if o.Base == 31 {
			o.HasBase = false // XZR
		}
		return true
	case w.is(0x1f000000, 0x10000000): // ADR, ADRP
		imm := w.signed(5, 19)<<2 | int64(w>>29&3)
		if w>>31 != 0 {
			imm, addr = imm<<12, addr&^0xfff
		}
		o.HasBase, o.Offset = false, o.Offset+int64(addr)+imm
		return true
	case w.is(0x7f800000, 0x52800000): // MOVZ
		o.HasBase, o.Offset = false, o.Offset+int64(uint64(w>>5&0xffff)<<(16*(w>>21&3)))
		return true
	}
	return false
}
