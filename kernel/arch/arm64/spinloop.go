package arm64

import (
	"math/bits"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/taken"
)

// maxLoop bounds the distance from the end of a loop back to its start, in bytes.
const maxLoop = 256

// yield is what cpu_relax makes a loop of.
const yield = 0xd503203f

// SpinLoop implements arch.Arch: a loop with YIELD that tests one bit in memory.
func (Arch) SpinLoop(code []byte, start uint64, offset int) (arch.SpinLoop, bool) {
	if len(code) > taken.MaxFunction || offset < 0 || offset >= len(code)&^(size-1) {
		return arch.SpinLoop{}, false
	}
	best, found := arch.SpinLoop{}, false
	shortest := maxLoop + 1
	for at := offset &^ (size - 1); at+size <= len(code) && at < offset+maxLoop; at += size {
		f, rel, direct := wordAt(code[at:]).flow()
		top := at + int(rel)
		if !direct || f != arch.Jump && f != arch.Branch || top < 0 || top > offset || at-top >= shortest {
			continue
		}
		if l, ok := spinLoop(code[top : at+size]); ok {
			l.Taken = l.takes(code)
			best, found, shortest = l.SpinLoop, true, at-top
		}
	}
	return best, found
}

// loop is a SpinLoop whose function is looked at.
type loop struct{ arch.SpinLoop }

// spinLoop looks at the instructions of a loop, which neither calls nor returns.
func spinLoop(code []byte) (loop, bool) {
	var l loop
	pause, found := false, false
	for at := 0; at+size <= len(code); at += size {
		in := wordAt(code[at:])
		if f, _, _ := in.flow(); f == arch.Call || f == arch.Return {
			return l, false
		}
		pause = pause || in == yield
		bit, reg := 0, in.rd()
		switch mask, ok := in.mask(); {
		case in.is(0x7e000000, 0x36000000): // TBZ, TBNZ
			bit = int(in>>31<<5 | in>>19&31)
		case in.is(0x7f80001f, 0x7200001f) && ok && bits.OnesCount64(mask) == 1: // TST
			bit, reg = bits.TrailingZeros64(mask), in.rn()
		default:
			continue
		}
		if !found {
			l, found = loaded(code[:at], reg)
			l.Bit = bit
		}
	}
	return l, pause && found
}

// loaded finds the load of a register right before the end of code.
func loaded(code []byte, r arch.Reg) (loop, bool) {
	for at := len(code) - size; at >= 0 && at >= len(code)-4*size; at -= size {
		in := wordAt(code[at:])
		if !in.writes(r) {
			continue
		}
		l := loop{arch.SpinLoop{Base: in.rn(), HasBase: true, Size: 1 << (in >> 30)}}
		switch {
		case in.rd() != r || in.rn() == SP:
			return loop{}, false
		case in.is(0x3fc00000, 0x39400000): // LDR with an unsigned offset
			l.Disp = int64(in>>10&0xfff) * int64(l.Size)
		case in.is(0x3fe00c00, 0x38400000), in.is(0x3fe00c00, 0x19400000): // LDUR, LDAPUR
			l.Disp = in.signed(12, 9)
		case in.is(0x3fe08000, 0x08c08000), in.is(0x3ffffc00, 0x38bfc000): // LDAR, LDAPR
		default:
			return loop{}, false
		}
		return l, true
	}
	return loop{}, false
}

// takes tells whether the function has an atomic instruction that sets a bit of the
// word, which a register leads to.
func (l *loop) takes(code []byte) bool {
	if l.Disp != 0 {
		return false
	}
	for at := 0; at+size <= len(code); at += size {
		in := wordAt(code[at:])
		if in.rn() != l.Base {
			continue
		}
		if in.is(0x3f20fc00, 0x38203000) { // LDSET
			return true
		}
		if in.is(0x3fe00000, 0x08000000) && at >= size { // STXR of what ORR left
			or := wordAt(code[at-size:])
			if or.is(0x7f800000, 0x32000000) && or.rd() == in.rd() || or.is(0x7f200000, 0x2a000000) && or.rd() == in.rd() {
				return true
			}
		}
	}
	return false
}
