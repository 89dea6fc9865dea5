package amd64

import (
	"golang.org/x/arch/x86/x86asm"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/internal/follow"
)

// FrameAt implements arch.Arch: it follows the function's instructions by all its
// branches, how far the stack pointer moves and which registers are pushed. It
// fails where it meets what it does not understand, such as a stack pointer that
// was aligned.
func (Arch) FrameAt(code []byte, offset int) (arch.Frame, bool) {
	var w frameWalk
	if !follow.At(&w.Walk, len(code), offset, func(to int) bool { return w.run(code, to) }) {
		return arch.Frame{}, false
	}
	return w.Now.Frame(&file, false)
}

type frameWalk struct{ follow.Walk }

// frameState is what is known at an instruction.
type frameState follow.State

// run goes over the instructions in order. Bytes that are none end it.
func (w *frameWalk) run(code []byte, offset int) bool {
	w.Now = follow.State{Live: true, Known: true, Depth: 8}
	for at := 0; at < offset; {
		inst, err := x86asm.Decode(code[at:min(len(code), at+15)], 64)
		if s, ok := special(code[at:], 0); ok {
			inst = x86asm.Inst{Op: x86asm.NOP, Len: s.Len}
		} else if err != nil || inst.Len == 0 {
			return false
		}
		w.reach(at)
		at += inst.Len
		if w.Now.Live {
			w.step(&inst, at)
		}
	}
	w.reach(offset)
	return true
}

// reach comes to an instruction, perhaps by a branch or a table of jumps.
func (w *frameWalk) reach(at int) {
	if !w.Reach(at) && w.Guess {
		w.Now = w.Body
	}
}

func (w *frameWalk) branch(inst *x86asm.Inst, next int) {
	if rel, ok := inst.Args[0].(x86asm.Rel); ok {
		w.Branch(next + int(rel))
	} else {
		w.Body = w.Now
	}
}

// step carries out what an instruction does to the frame.
func (w *frameWalk) step(inst *x86asm.Inst, next int) {
	s := (*frameState)(&w.Now)
	switch flow(inst.Op) {
	case arch.Jump:
		w.branch(inst, next)
		s.Live = false
		return
	case arch.Branch:
		w.branch(inst, next)
		return
	case arch.Return, arch.Stop:
		s.Live = false
		return
	case arch.Call:
		return
	}
	switch inst.Op {
	case x86asm.PUSH:
		s.push(inst.Args[0])
	case x86asm.PUSHFQ, x86asm.PUSHF:
		s.Depth += 8
	case x86asm.POPFQ, x86asm.POPF:
		s.Depth -= 8
	case x86asm.POP:
		s.pop(inst.Args[0])
	case x86asm.LEAVE:
		s.Known, s.Depth = s.Framed, s.FPDepth
		s.pop(x86asm.RBP)
	case x86asm.CMP, x86asm.TEST, x86asm.NOP, x86asm.BT:
	default:
		s.write(inst)
	}
}

func (s *frameState) push(arg x86asm.Arg) {
	s.Depth += 8
	r, ok := register(arg)
	if ok && CalleeSaved>>r&1 != 0 && s.Lost>>r&1 == 0 && s.Below[r] == 0 && s.Known {
		s.Below[r] = s.Depth
	}
}

func (s *frameState) pop(arg x86asm.Arg) {
	if r, ok := register(arg); ok {
		if s.Below[r] == s.Depth && s.Known {
			s.Below[r] = 0
			s.Lost &^= 1 << r
		} else {
			s.Lost |= 1 << r
		}
		if r == BP {
			s.Framed = false
		}
		if r == SP {
			s.Known = false
		}
	}
	s.Depth -= 8
}

// write looks at an instruction whose first operand is written to.
func (s *frameState) write(inst *x86asm.Inst) {
	r, ok := register(inst.Args[0])
	if !ok {
		return
	}
	if inst.Op == x86asm.XCHG || inst.Op == x86asm.XADD {
		if other, ok := register(inst.Args[1]); ok {
			s.Lost |= 1 << other
		}
	}
	if r != SP {
		s.Lost |= 1 << r
		if r == BP {
			from, isReg := register(inst.Args[1])
			s.Framed = inst.Op == x86asm.MOV && isReg && from == SP && s.Known
			s.FPDepth = s.Depth
		}
		return
	}
	imm, isImm := inst.Args[1].(x86asm.Imm)
	mem, isMem := inst.Args[1].(x86asm.Mem)
	from, isReg := register(inst.Args[1])
	switch {
	case inst.Op == x86asm.SUB && isImm:
		s.Depth += int64(imm)
	case inst.Op == x86asm.ADD && isImm:
		s.Depth -= int64(imm)
	case inst.Op == x86asm.LEA && isMem && mem.Index == 0 && mem.Base == x86asm.RSP:
		s.Depth -= displacement(mem)
	case inst.Op == x86asm.LEA && isMem && mem.Index == 0 && mem.Base == x86asm.RBP && s.Framed:
		s.Known, s.Depth = true, s.FPDepth-displacement(mem)
	case inst.Op == x86asm.MOV && isReg && from == BP && s.Framed:
		s.Known, s.Depth = true, s.FPDepth
	default:
		s.Known = false
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
