package amd64

import (
	"golang.org/x/arch/x86/x86asm"

	"github.com/kmortem/mortem/kernel/arch"
)

// CallTarget implements arch.Arch.
func (Arch) CallTarget(code []byte, end int, start uint64) (uint64, bool) {
	if end < 5 || end > len(code) || code[end-5] != 0xe8 {
		return 0, false
	}
	in, err := (Decoder{}).Decode(code[end-5:end], start+uint64(end-5), nil)
	return in.Target, err == nil && in.Flow == arch.Call
}

// Argument implements arch.Arch: it looks at the straight line of instructions
// before the call.
func (Arch) Argument(code []byte, end int, start uint64, r arch.Reg) (arch.Origin, bool) {
	list, targets, ok := instructions(code, end)
	if !ok || len(list) == 0 {
		return arch.Origin{}, false
	}
	o := origin{arch.Origin{Base: r, HasBase: true}}
	kept := false // Base is one that is known after the call
	for i := len(list) - 2; ; i-- {
		if o.Base == SP || !o.HasBase {
			return o.Origin, true
		}
		if kept = CalleeSaved>>o.Base&1 != 0; kept && unchanged(list[i+1:], o.Base) {
			return o.Origin, true
		}
		if i < 0 || targets[list[i+1].at] {
			return arch.Origin{}, false // another path leads here
		}
		in := &list[i].inst
		switch f := flow(in.Op); {
		case f == arch.Call || f == arch.Jump || f == arch.Return || f == arch.Stop:
			return arch.Origin{}, false
		case !writes(in, o.Base):
			continue
		}
		if o.Load != 0 || !o.from(in, start+uint64(list[i].at)) {
			return arch.Origin{}, false
		}
		if o.HasBase && o.Base == SP && movesStack(list[i+1:]) {
			return arch.Origin{}, false
		}
	}
}

// origin is one that is being followed.
type origin struct{ arch.Origin }

type placed struct {
	at   int
	inst x86asm.Inst
}

// instructions decodes up to an offset, and collects where branches lead.
func instructions(code []byte, end int) ([]placed, map[int]bool, bool) {
	var list []placed
	targets := map[int]bool{}
	for at := 0; at < len(code); {
		inst, err := x86asm.Decode(code[at:min(len(code), at+15)], 64)
		if s, ok := special(code[at:], 0); ok {
			inst = x86asm.Inst{Op: x86asm.NOP, Len: s.Len}
		} else if err != nil || inst.Len == 0 {
			return nil, nil, false
		}
		if at < end {
			list = append(list, placed{at, inst})
		}
		if rel, ok := inst.Args[0].(x86asm.Rel); ok && flow(inst.Op) != arch.Call {
			targets[at+inst.Len+int(rel)] = true
		}
		if at += inst.Len; at > end && len(list) > 0 && list[len(list)-1].at+list[len(list)-1].inst.Len != end {
			return nil, nil, false
		}
	}
	return list, targets, true
}

// unchanged tells whether no instruction of a part writes to a register.
func unchanged(list []placed, r arch.Reg) bool {
	for i := range list {
		if writes(&list[i].inst, r) {
			return false
		}
	}
	return true
}

// movesStack tells whether an instruction of a part moves the stack pointer.
func movesStack(list []placed) bool {
	for i := range list {
		switch list[i].inst.Op {
		case x86asm.PUSH, x86asm.POP, x86asm.PUSHFQ, x86asm.POPFQ, x86asm.LEAVE:
			return true
		}
	}
	return !unchanged(list, SP)
}

// writes tells whether an instruction may write to a register.
func writes(in *x86asm.Inst, r arch.Reg) bool {
	switch in.Op {
	case x86asm.CMP, x86asm.TEST, x86asm.NOP, x86asm.PUSH, x86asm.BT, x86asm.UD2:
		return false
	case x86asm.MUL, x86asm.DIV, x86asm.IDIV, x86asm.CPUID, x86asm.RDTSC, x86asm.RDMSR, x86asm.CQO, x86asm.CDQ,
		x86asm.MOVSB, x86asm.MOVSQ, x86asm.MOVSW, x86asm.STOSB, x86asm.STOSQ, x86asm.STOSD, x86asm.CMPXCHG:
		if r == AX || r == DX || r == CX || r == DI || r == SI || r == BX {
			return true
		}
	}
	if to, ok := register(in.Args[0]); ok && to == r {
		return true
	}
	if in.Op == x86asm.XCHG || in.Op == x86asm.XADD {
		to, ok := register(in.Args[1])
		return ok && to == r
	}
	return false
}

// from makes an origin one of what an instruction computes its base from.
func (o *origin) from(in *x86asm.Inst, addr uint64) bool {
	next := int64(addr) + int64(in.Len)
	mem, isMem := in.Args[1].(x86asm.Mem)
	switch {
	case in.Op == x86asm.XOR && in.Args[0] == in.Args[1]:
		o.HasBase = false
		return true
	case in.Op == x86asm.MOV && isMem:
		o.Load = in.MemBytes
		if o.Offset != 0 || in.MemBytes < 4 || mem.Segment != 0 {
			return false
		}
		return o.address(mem, next)
	case in.Op == x86asm.LEA && isMem:
		return o.address(mem, next)
	case in.Op == x86asm.MOV:
		if imm, ok := in.Args[1].(x86asm.Imm); ok {
			o.HasBase, o.Offset = false, o.Offset+int64(imm)
			return true
		}
		r, ok := register(in.Args[1])
		o.Base = r
		return ok && in.DataSize == 64
	case in.Op == x86asm.ADD:
		imm, ok := in.Args[1].(x86asm.Imm)
		o.Offset += int64(imm)
		return ok && in.DataSize == 64
	}
	return false
}

// address takes the address of an operand in memory.
func (o *origin) address(mem x86asm.Mem, next int64) bool {
	if mem.Index != 0 {
		return false
	}
	o.Offset += displacement(mem)
	switch mem.Base {
	case x86asm.RIP:
		o.HasBase, o.Offset = false, o.Offset+next
		return true
	case 0:
		o.HasBase = false
		return true
	}
	r, ok := register(mem.Base)
	o.Base = r
	return ok
}
