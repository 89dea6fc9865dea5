package amd64

import (
	"math/bits"

	"golang.org/x/arch/x86/x86asm"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/taken"
)

// maxLoop bounds the distance from the end of a loop back to its start, in bytes.
const maxLoop = 512

// SpinLoop implements arch.Arch: a loop with a pause instruction that tests one bit in
// memory.
func (Arch) SpinLoop(code []byte, start uint64, offset int) (arch.SpinLoop, bool) {
	if len(code) > taken.MaxFunction || offset < 0 || offset >= len(code) {
		return arch.SpinLoop{}, false
	}
	t := newFollower(code, start)
	numbers := make(map[int]int, len(t.list)) // of the instructions, by offset
	for i := range t.list {
		numbers[t.list[i].at] = i
	}
	best, found := arch.SpinLoop{}, false
	shortest := maxLoop + 1
	for i := range t.list {
		p := &t.list[i]
		rel, ok := p.inst.Args[0].(x86asm.Rel)
		f := flow(p.inst.Op)
		if !ok || f != arch.Jump && f != arch.Branch {
			continue
		}
		top := p.at + p.inst.Len + int(rel)
		first, known := numbers[top]
		if length := p.at - top; !known || top > offset || p.at < offset || length >= shortest {
			continue
		}
		if l, ok := t.spinLoop(first, i); ok {
			best, found, shortest = l, true, p.at-top
		}
	}
	return best, found
}

// spinLoop looks at the instructions of a loop: one is a pause, and one tests a bit
// in memory, or in a register that was just loaded from there.
func (t *follower) spinLoop(first, last int) (arch.SpinLoop, bool) {
	pause := false
	var loop arch.SpinLoop
	found := false
	for i := first; i <= last; i++ {
		in := &t.list[i].inst
		if f := flow(in.Op); f == arch.Call || f == arch.Return {
			return arch.SpinLoop{}, false
		}
		switch in.Op {
		case x86asm.PAUSE:
			pause = true
		case x86asm.TEST, x86asm.AND:
			imm, isImm := in.Args[1].(x86asm.Imm)
			if !isImm || bits.OnesCount64(uint64(imm)) != 1 || found || in.Op == x86asm.AND && !t.asTest(i, last) {
				continue
			}
			if m, ok := in.Args[0].(x86asm.Mem); ok {
				loop, found = t.spinWord(i, m, in.MemBytes)
			} else if m, at, ok := t.loaded(first, i); ok {
				loop, found = t.spinWord(at, m, t.list[at].inst.MemBytes)
			}
			loop.Bit = bits.TrailingZeros64(uint64(imm))
		}
	}
	if !pause || !found {
		return arch.SpinLoop{}, false
	}
	loop.Taken = t.takes(&loop)
	return loop, true
}

// asTest tells whether an AND is there for its flags: it changes a register, and the
// branch that closes the loop follows it.
func (t *follower) asTest(i, last int) bool {
	_, ok := register(t.list[i].inst.Args[0])
	return ok && i+1 == last
}

// loaded finds the load of the register that an instruction tests.
func (t *follower) loaded(first, test int) (x86asm.Mem, int, bool) {
	r, ok := register(t.list[test].inst.Args[0])
	if !ok {
		return x86asm.Mem{}, 0, false
	}
	for i := test - 1; i >= first && i >= test-4; i-- {
		in := &t.list[i].inst
		if !writes(in, r) {
			continue
		}
		m, isMem := in.Args[1].(x86asm.Mem)
		return m, i, isMem && (in.Op == x86asm.MOV || in.Op == x86asm.MOVZX)
	}
	return x86asm.Mem{}, 0, false
}

// spinWord is where an operand of an instruction lies.
func (t *follower) spinWord(i int, m x86asm.Mem, size int) (arch.SpinLoop, bool) {
	l := arch.SpinLoop{Disp: displacement(m), Size: size}
	switch {
	case m.Index != 0 || m.Segment != 0:
		return l, false
	case m.Base == x86asm.RIP:
		l.Disp = int64(t.start) + int64(t.list[i].at+t.list[i].inst.Len) + displacement(m)
		return l, true
	case m.Base == 0:
		return l, true
	}
	l.Base, l.HasBase = 0, true
	r, ok := register(m.Base)
	l.Base, l.Disp = r, displacement(m)
	return l, ok
}

// takes tells whether the function has an atomic instruction that sets the bit.
func (t *follower) takes(l *arch.SpinLoop) bool {
	for i := range t.list {
		in := &t.list[i].inst
		m, ok := in.Args[0].(x86asm.Mem)
		if !ok || in.Op != x86asm.BTS || !locked(in) {
			continue
		}
		w, ok := t.spinWord(i, m, in.MemBytes)
		if ok && w.HasBase == l.HasBase && w.Base == l.Base && w.Disp == l.Disp {
			return true
		}
	}
	return false
}
