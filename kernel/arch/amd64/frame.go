package amd64

import (
	"golang.org/x/arch/x86/x86asm"

	"github.com/kmortem/mortem/kernel/arch"
)

// FrameAt follows a function's instructions to the one at an offset, by all its
// branches, and works out the frame there: how far the stack pointer moved, and
// which registers were pushed. It needs no unwind data. It fails where it meets
// what it does not understand, such as a stack pointer that was aligned. code is
// the whole function, or at least what lies before the offset.
func FrameAt(code []byte, offset int) (arch.Frame, bool) {
	w := frameWalk{branches: map[int]frameState{}}
	// Blocks can come before the branch that leads to them: two rounds find
	// these, and the last one may then guess at tables of jumps.
	for range 2 {
		if !w.follow(code, len(code)) {
			break
		}
	}
	w.guess = true
	if !w.follow(code, offset) {
		return arch.Frame{}, false
	}
	return w.now.frame()
}

// follow goes over the instructions in order. Bytes that are none end it.
func (w *frameWalk) follow(code []byte, offset int) bool {
	w.now = frameState{live: true, known: true, depth: 8}
	for at := 0; at < offset; {
		inst, err := x86asm.Decode(code[at:min(len(code), at+15)], 64)
		if s, ok := special(code[at:], 0); ok {
			inst = x86asm.Inst{Op: x86asm.NOP, Len: s.Len}
		} else if err != nil || inst.Len == 0 {
			return false
		}
		w.reach(at)
		at += inst.Len
		if w.now.live {
			w.step(&inst, at)
		}
	}
	w.reach(offset)
	return true
}

// frameState is what is known at an instruction.
type frameState struct {
	live    bool  // control can come here
	known   bool  // depth is
	depth   int64 // CFA less SP
	bpFrame bool  // BP points into the frame
	bpDepth int64 // CFA less BP
	saved   [16]int64
	written uint32 // registers that do not have the caller's value any more
}

func (s *frameState) frame() (arch.Frame, bool) {
	f := arch.Frame{Lost: uint64(s.written)}
	copy(f.Below[:], s.saved[:])
	switch {
	case !s.live:
		return arch.Frame{}, false
	case s.known:
		f.Base, f.Offset = SP, s.depth
	case s.bpFrame:
		f.Base, f.Offset = BP, s.bpDepth
	default:
		return arch.Frame{}, false
	}
	return f, true
}

type frameWalk struct {
	guess    bool
	now      frameState
	body     frameState // what held before the last jump to a place unknown
	branches map[int]frameState
}

// reach comes to an instruction, perhaps by a branch.
func (w *frameWalk) reach(at int) {
	if w.now.live {
		return
	}
	if s, ok := w.branches[at]; ok {
		w.now = s
	} else if w.guess {
		w.now = w.body // by a table of jumps
	}
}

// maxBranches bounds what is kept of one function.
const maxBranches = 1 << 14

func (w *frameWalk) branch(inst *x86asm.Inst, next int) {
	rel, ok := inst.Args[0].(x86asm.Rel)
	if !ok {
		w.body = w.now
		return
	}
	to := next + int(rel)
	if _, known := w.branches[to]; !known && len(w.branches) < maxBranches {
		w.branches[to] = w.now
	}
}

// step carries out what an instruction does to the frame.
func (w *frameWalk) step(inst *x86asm.Inst, next int) {
	s := &w.now
	switch flow(inst.Op) {
	case arch.Jump:
		w.branch(inst, next)
		s.live = false
		return
	case arch.Branch:
		w.branch(inst, next)
		return
	case arch.Return, arch.Stop:
		s.live = false
		return
	case arch.Call:
		return
	}
	switch inst.Op {
	case x86asm.PUSH:
		s.push(inst.Args[0])
	case x86asm.PUSHFQ, x86asm.PUSHF:
		s.depth += 8
	case x86asm.POPFQ, x86asm.POPF:
		s.depth -= 8
	case x86asm.POP:
		s.pop(inst.Args[0])
	case x86asm.LEAVE:
		s.known, s.depth = s.bpFrame, s.bpDepth
		s.pop(x86asm.RBP)
	case x86asm.CMP, x86asm.TEST, x86asm.NOP, x86asm.BT:
	default:
		s.write(inst)
	}
}

func (s *frameState) push(arg x86asm.Arg) {
	s.depth += 8
	r, ok := register(arg)
	if ok && CalleeSaved>>r&1 != 0 && s.written>>r&1 == 0 && s.saved[r] == 0 && s.known {
		s.saved[r] = s.depth
	}
}

func (s *frameState) pop(arg x86asm.Arg) {
	if r, ok := register(arg); ok {
		if s.saved[r] == s.depth && s.known {
			s.saved[r] = 0
			s.written &^= 1 << r
		} else {
			s.written |= 1 << r
		}
		if r == BP {
			s.bpFrame = false
		}
		if r == SP {
			s.known = false
		}
	}
	s.depth -= 8
}

// write looks at an instruction whose first operand is written to.
func (s *frameState) write(inst *x86asm.Inst) {
	r, ok := register(inst.Args[0])
	if !ok {
		return
	}
	if inst.Op == x86asm.XCHG || inst.Op == x86asm.XADD {
		if other, ok := register(inst.Args[1]); ok {
			s.written |= 1 << other
		}
	}
	if r != SP {
		s.written |= 1 << r
		if r == BP {
			from, isReg := register(inst.Args[1])
			s.bpFrame = inst.Op == x86asm.MOV && isReg && from == SP && s.known
			s.bpDepth = s.depth
		}
		return
	}
	imm, isImm := inst.Args[1].(x86asm.Imm)
	mem, isMem := inst.Args[1].(x86asm.Mem)
	from, isReg := register(inst.Args[1])
	switch {
	case inst.Op == x86asm.SUB && isImm:
		s.depth += int64(imm)
	case inst.Op == x86asm.ADD && isImm:
		s.depth -= int64(imm)
	case inst.Op == x86asm.LEA && isMem && mem.Index == 0 && mem.Base == x86asm.RSP:
		s.depth -= mem.Disp
	case inst.Op == x86asm.LEA && isMem && mem.Index == 0 && mem.Base == x86asm.RBP && s.bpFrame:
		s.known, s.depth = true, s.bpDepth-mem.Disp
	case inst.Op == x86asm.MOV && isReg && from == BP && s.bpFrame:
		s.known, s.depth = true, s.bpDepth
	default:
		s.known = false
	}
}

// register is the general register that an operand is or is a part of.
func register(arg x86asm.Arg) (arch.Reg, bool) {
	r, ok := arg.(x86asm.Reg)
	if !ok {
		return 0, false
	}
	var n x86asm.Reg
	switch {
	case r >= x86asm.RAX && r <= x86asm.R15:
		n = r - x86asm.RAX
	case r >= x86asm.EAX && r <= x86asm.R15L:
		n = r - x86asm.EAX
	case r >= x86asm.AX && r <= x86asm.R15W:
		n = r - x86asm.AX
	case r >= x86asm.AL && r <= x86asm.BL:
		n = r - x86asm.AL
	case r >= x86asm.AH && r <= x86asm.BH:
		n = r - x86asm.AH
	case r >= x86asm.SPB && r <= x86asm.R15B:
		n = r - x86asm.SPB + 4
	default:
		return 0, false
	}
	return encoded[n], true
}

// encoded are the registers by the numbers of the machine code.
var encoded = [16]arch.Reg{AX, CX, DX, BX, SP, BP, SI, DI, R8, R9, R10, R11, R12, R13, R14, R15}
