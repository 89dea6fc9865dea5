package amd64

import (
	"golang.org/x/arch/x86/x86asm"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/taken"
)

var _ taken.Machine = Arch{}

// Convention implements taken.Machine (System V ABI, AMD64 supplement).
func (Arch) Convention() taken.Convention {
	return taken.Convention{SP: SP, Result: AX, Args: []arch.Reg{DI, SI, DX, CX, R8, R9}, Kept: CalleeSaved, Registers: 16, Entry: 8}
}

// Code implements taken.Machine.
func (Arch) Code(code []byte, start uint64) taken.Code { return newFollower(code, start) }

// follower is a function whose code is followed.
type follower struct {
	list  []placed
	start uint64
}

func newFollower(code []byte, start uint64) *follower {
	f := &follower{start: start}
	for at := 0; at < len(code); {
		inst, err := x86asm.Decode(code[at:min(len(code), at+15)], 64)
		if s, ok := special(code[at:], 0); ok {
			inst, err = x86asm.Inst{Op: x86asm.NOP, Len: s.Len}, nil
		}
		if err != nil || inst.Len == 0 {
			inst = x86asm.Inst{Op: x86asm.UD2, Len: 1}
		}
		f.list = append(f.list, placed{at, inst})
		at += inst.Len
	}
	return f
}

// Len implements taken.Code.
func (f *follower) Len() int { return len(f.list) }

// Place implements taken.Code.
func (f *follower) Place(i int) taken.Place {
	in := &f.list[i]
	p := taken.Place{Offset: in.at, Len: in.inst.Len, Flow: flow(in.inst.Op)}
	if rel, ok := in.inst.Args[0].(x86asm.Rel); ok {
		p.To, p.Direct = in.at+in.inst.Len+int(rel), true
	}
	return p
}

// Condition implements taken.Code.
func (f *follower) Condition(_ *taken.Walk, s *taken.State, i int) taken.Condition {
	switch f.list[i].inst.Op {
	case x86asm.JE:
		return s.Flags.Zero
	case x86asm.JNE:
		return s.Flags.Zero.Negated()
	case x86asm.JB:
		return s.Flags.Carry
	case x86asm.JAE:
		return s.Flags.Carry.Negated()
	case x86asm.JNS: // an error number is negative
		if s.Flags.Zero.Asks == taken.Zero {
			return s.Flags.Zero
		}
	case x86asm.JS:
		if s.Flags.Zero.Asks == taken.Zero {
			return s.Flags.Zero.Negated()
		}
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
	in := &f.list[i].inst
	if mem, ok := in.Args[0].(x86asm.Mem); ok {
		t.memory(in, mem)
		return
	}
	if m, ok := in.Args[1].(x86asm.Mem); ok && (in.Op == x86asm.XCHG || in.Op == x86asm.XADD) {
		t.memory(in, m)
	}
	t.flags(in)
	switch in.Op {
	case x86asm.PUSH, x86asm.PUSHFQ:
		s.Regs[SP].Off -= 8
		v, known := t.operand(in, in.Args[0])
		w.Spill(s, s.Regs[SP], 8, v, known && in.Op == x86asm.PUSH)
	case x86asm.POP, x86asm.POPFQ:
		v := w.Load(s, s.Regs[SP], 8)
		s.Regs[SP].Off += 8
		if r, ok := register(in.Args[0]); ok && in.Op == x86asm.POP {
			s.Regs[r] = v
		}
	case x86asm.LEAVE:
		s.Regs[SP] = s.Regs[BP]
		s.Regs[BP] = w.Load(s, s.Regs[SP], 8)
		s.Regs[SP].Off += 8
	default:
		t.assign(in)
	}
}

// assign works out what an instruction leaves in a register.
func (t step) assign(in *x86asm.Inst) {
	after := t.s.Regs
	for r := AX; r <= R15; r++ {
		if !writes(in, r) {
			continue
		}
		after[r] = t.w.Fresh(t.i, r)
		if to, ok := register(in.Args[0]); ok && to == r {
			if n, known := t.result(in); known {
				after[r] = n
			}
		}
	}
	t.s.Regs = after
}

// result is the number that an instruction writes to its first operand.
func (t step) result(in *x86asm.Inst) (taken.Value, bool) {
	wide := in.DataSize == 64
	switch in.Op {
	case x86asm.MOV:
		if imm, ok := in.Args[1].(x86asm.Imm); ok {
			if !wide {
				return taken.Value{Off: int64(uint32(imm))}, in.DataSize == 32
			}
			return taken.Value{Off: int64(imm)}, true
		}
		v, known := t.operand(in, in.Args[1])
		if !wide {
			return v, known && (v.ID == taken.Const || in.DataSize == 32 && t.w.IsFresh(v))
		}
		return v, known
	case x86asm.LEA:
		if m, ok := in.Args[1].(x86asm.Mem); ok && wide {
			return t.address(m)
		}
	case x86asm.ADD, x86asm.SUB:
		imm, ok := in.Args[1].(x86asm.Imm)
		r, isReg := register(in.Args[0])
		if ok && isReg && wide {
			v := t.s.Regs[r]
			if v.Off += int64(imm); in.Op == x86asm.SUB {
				v.Off -= 2 * int64(imm)
			}
			return v, true
		}
	case x86asm.XOR:
		return taken.Value{}, in.Args[0] == in.Args[1]
	}
	return taken.Value{}, false
}

// operand is the number that an operand stands for.
func (t step) operand(in *x86asm.Inst, arg x86asm.Arg) (taken.Value, bool) {
	switch a := arg.(type) {
	case x86asm.Reg:
		if r, ok := register(a); ok {
			return t.s.Regs[r], true
		}
	case x86asm.Imm:
		return taken.Value{Off: int64(a)}, true
	case x86asm.Mem:
		at, ok := t.address(a)
		if !ok {
			return taken.Value{}, false
		}
		return t.w.Load(t.s, at, in.MemBytes), true
	}
	return taken.Value{}, false
}

// address is the address of an operand in memory.
func (t step) address(m x86asm.Mem) (taken.Value, bool) {
	p := &t.list[t.i]
	next := int64(t.start) + int64(p.at+p.inst.Len)
	switch {
	case m.Segment == x86asm.GS:
		// A variable of the processor's own.
		if m.Base == x86asm.RIP {
			return t.w.Own(displacement(m) + next), m.Index == 0
		}
		return t.w.Own(displacement(m)), m.Index == 0 && m.Base == 0
	case m.Index != 0 && !(m.Scale == 1 && m.Base == 0):
		return taken.Value{}, false
	case m.Base == x86asm.RIP:
		return taken.Value{Off: next + displacement(m)}, true
	case m.Base == 0:
		return taken.Value{Off: displacement(m)}, m.Index == 0
	}
	r, ok := register(m.Base)
	if !ok {
		return taken.Value{}, false
	}
	v := t.s.Regs[r]
	v.Off += displacement(m)
	return v, true
}

// displacement is that of an operand in memory, whose 32 bits the decoder does not
// extend by their sign.
func displacement(m x86asm.Mem) int64 {
	if m.Disp>>31 == 1 {
		return int64(int32(m.Disp))
	}
	return m.Disp
}

// memory carries out an instruction that writes to memory: a store, which may give
// something back, or an atomic one, which may take it.
func (t step) memory(in *x86asm.Inst, m x86asm.Mem) {
	w, s := t.w, t.s
	t.flags(in)
	if t.perCPU(in, m) {
		return
	}
	at, known := t.address(m)
	switch in.Op {
	case x86asm.CMP, x86asm.TEST, x86asm.NOP, x86asm.BT, x86asm.PREFETCHW, x86asm.PREFETCHT0, x86asm.PREFETCHNTA:
		return
	case x86asm.PUSH:
		s.Regs[SP].Off -= 8
		w.Spill(s, s.Regs[SP], 8, w.Load(s, at, 8), known)
		return
	case x86asm.CMPXCHG, x86asm.BTS:
		if in.Op == x86asm.CMPXCHG {
			s.Regs[AX] = w.Fresh(t.i, AX)
		}
		if known && locked(in) {
			t.try(in, at)
		}
		return
	case x86asm.POP:
		s.Regs[SP].Off += 8
	}
	if !known {
		return
	}
	v, ok := t.operand(in, in.Args[1])
	w.Spill(s, at, in.MemBytes, v, ok && in.Op == x86asm.MOV)
	if !w.OnStack(at) {
		t.store(in, at)
	}
}

// try carries out an atomic instruction that may take something: its flags tell whether
// it has.
func (t step) try(in *x86asm.Inst, at taken.Value) {
	if in.Op == x86asm.CMPXCHG {
		t.s.Flags = taken.Flags{Zero: t.w.Try(t.s, t.i, at, taken.CompareExchange, in.MemBytes, -1)}
		return
	}
	bit := -1
	if imm, ok := in.Args[1].(x86asm.Imm); ok {
		bit = int(imm)
	}
	t.s.Flags = taken.Flags{Carry: t.w.Try(t.s, t.i, at, taken.SetBit, in.MemBytes, bit).Negated()}
}

// store gives back what an instruction that writes to memory may give back: a bit
// that it clears, or a lock whose word it changes.
func (t step) store(in *x86asm.Inst, at taken.Value) {
	imm, isImm := in.Args[1].(x86asm.Imm)
	switch in.Op {
	case x86asm.OR, x86asm.BTC:
	case x86asm.AND:
		t.w.ClearBits(t.s, at, ^uint64(imm)&(1<<32-1), isImm)
	case x86asm.BTR:
		t.w.ClearBits(t.s, at, 1<<(uint64(imm)&63), isImm)
	default:
		t.w.Store(t.s, t.i, at, taken.Value{})
	}
}

// perCPU notes a counter of the processor's own that goes up or down, to which a
// pointer in memory leads. It is true for all that is the processor's own and comes by
// such a pointer.
func (t step) perCPU(in *x86asm.Inst, m x86asm.Mem) bool {
	r, ok := register(m.Base)
	if m.Segment != x86asm.GS || !ok || m.Index != 0 || m.Disp != 0 {
		return false
	}
	counter, ok := t.w.Counter(t.s.Regs[r])
	if !ok {
		return true
	}
	switch in.Op {
	case x86asm.INC, x86asm.ADD:
		t.w.Count(t.s, t.i, counter, in.MemBytes, 1)
	case x86asm.DEC, x86asm.SUB:
		t.w.Count(t.s, t.i, counter, in.MemBytes, -1)
	}
	return true
}

// locked tells whether an instruction is an atomic one.
func locked(in *x86asm.Inst) bool {
	for _, p := range in.Prefix {
		if p&0xff == x86asm.PrefixLOCK&0xff && p != 0 {
			return true
		}
	}
	return false
}

// flags notes what the flags tell after an instruction.
func (t step) flags(in *x86asm.Inst) {
	switch in.Op {
	case x86asm.MOV, x86asm.LEA, x86asm.PUSH, x86asm.POP, x86asm.NOP, x86asm.MOVZX, x86asm.MOVSX, x86asm.MOVSXD, x86asm.LEAVE:
		return
	}
	t.s.Flags = taken.Flags{}
	r, ok := register(in.Args[0])
	if !ok {
		return
	}
	imm, isImm := in.Args[1].(x86asm.Imm)
	if in.Op == x86asm.TEST && in.Args[0] == in.Args[1] || in.Op == x86asm.CMP && isImm && imm == 0 {
		t.s.Flags.Zero = t.w.IsZero(t.s.Regs[r])
	}
}
