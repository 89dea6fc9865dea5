package amd64

import (
	"slices"

	"golang.org/x/arch/x86/x86asm"
)

// decided is what is known on one way of a branch: whether something was taken may
// be what it asked.
func (t *tracker) decided(s *flowState, op x86asm.Op, jumped bool) *flowState {
	zero, isZero := false, false
	carry, isCarry := false, false
	switch op {
	case x86asm.JE:
		zero, isZero = jumped, true
	case x86asm.JNE:
		zero, isZero = !jumped, true
	case x86asm.JB:
		carry, isCarry = jumped, true
	case x86asm.JAE:
		carry, isCarry = !jumped, true
	case x86asm.JS: // an error number
		zero, isZero = !jumped, s.site == 0
	case x86asm.JNS:
		zero, isZero = jumped, s.site == 0
	}
	if !isZero && !isCarry || s.zeroOf == 0 && s.site == 0 {
		return s
	}
	out := s.clone()
	kept := out.held[:0]
	for _, h := range out.held {
		switch {
		case s.zeroOf != 0 && isZero && h.cond == s.zeroOf:
			if zero != (h.success == IfZero) {
				continue
			}
			h.cond = 0
			out.sure(h.where)
		case s.site != 0 && h.Site == s.site && h.Target == 0:
			if s.op == x86asm.BTS && isCarry && carry || s.op == x86asm.CMPXCHG && isZero && !zero {
				continue
			}
			if s.op == x86asm.BTS && isCarry || s.op == x86asm.CMPXCHG && isZero {
				out.sure(h.where)
			}
		}
		kept = append(kept, h)
	}
	out.held = kept
	return out
}

// clobber forgets the registers that a call does not keep.
func (t *tracker) clobber(s *flowState, at int) {
	for r := AX; r <= R15; r++ {
		if CalleeSaved>>r&1 == 0 && r != SP {
			s.regs[r] = value{id: t.intern(expr{kind: exprFresh, at: at, reg: r})}
		}
	}
	s.zeroOf, s.site = 0, 0
}

// call applies what is known of the called function.
func (t *tracker) call(s *flowState, p *placed, next int) {
	site := t.start + uint64(p.at)
	args := s.regs
	t.clobber(s, p.at)
	rel, ok := p.inst.Args[0].(x86asm.Rel)
	if !ok {
		return
	}
	target := t.start + uint64(next+int(rel))
	for _, e := range t.effects(target) {
		where := args[e.Arg]
		if e.Fixed != 0 {
			where = value{off: int64(e.Fixed)}
		}
		if e.Give {
			s.give(where, Given{Site: site, Tag: e.Tag})
		}
		if e.Take {
			h := held{Taken: Taken{Site: site, Target: target, Tag: e.Tag, Bit: -1, Sure: e.Success == Always, where: where}, success: e.Success}
			if e.Success != Always {
				h.cond = s.regs[AX].id
			}
			s.take(h)
		}
	}
}

// sure notes that something is held, whatever happened before.
func (s *flowState) sure(where value) {
	if !slices.Contains(s.must, where) {
		s.must = append(s.must, where)
	}
}

// unsure notes that something was given back.
func (s *flowState) unsure(where value) {
	s.must = slices.DeleteFunc(s.must, func(v value) bool { return v == where })
}

func (s *flowState) take(h held) {
	if h.Sure {
		s.sure(h.where)
	}
	if find(s.held, &h) == nil && len(s.held) < 64 {
		s.held = append(s.held, h)
	}
}

// give takes something off what is held, or notes that it was not.
func (s *flowState) give(where value, g Given) {
	kept, found := s.held[:0:0], false
	for _, h := range s.held {
		if h.where == where && (g.Store || h.Target == 0 || h.Tag == g.Tag) {
			found = true
			s.unsure(where)
			continue
		}
		kept = append(kept, h)
	}
	s.held = kept
	if !found && len(s.given) < 64 && !g.Store {
		g.where, g.Sure = where, true
		for i := range s.given {
			if s.given[i].Site == g.Site && s.given[i].where == where {
				return
			}
		}
		s.given = append(s.given, g)
	}
}

// step carries out an instruction that is neither a call nor a jump.
func (t *tracker) step(s *flowState, p *placed) {
	in := &p.inst
	mem, isMem := in.Args[0].(x86asm.Mem)
	if isMem {
		t.memory(s, p, mem)
		return
	}
	if m, ok := in.Args[1].(x86asm.Mem); ok && (in.Op == x86asm.XCHG || in.Op == x86asm.XADD) {
		t.memory(s, p, m)
	}
	t.flags(s, in)
	switch in.Op {
	case x86asm.PUSH, x86asm.PUSHFQ:
		s.regs[SP].off -= 8
		v, known := t.operand(s, p, in.Args[0])
		t.spill(s, s.regs[SP], 8, v, known && in.Op == x86asm.PUSH)
	case x86asm.POP, x86asm.POPFQ:
		v := t.load(s, s.regs[SP], 8)
		s.regs[SP].off += 8
		if r, ok := register(in.Args[0]); ok && in.Op == x86asm.POP {
			s.regs[r] = v
		}
	case x86asm.LEAVE:
		s.regs[SP] = s.regs[BP]
		s.regs[BP] = t.load(s, s.regs[SP], 8)
		s.regs[SP].off += 8
	default:
		t.assign(s, p)
	}
}

// assign works out what an instruction leaves in a register.
func (t *tracker) assign(s *flowState, p *placed) {
	in := &p.inst
	after := s.regs
	for r := AX; r <= R15; r++ {
		if !writes(in, r) {
			continue
		}
		after[r] = value{id: t.intern(expr{kind: exprFresh, at: p.at, reg: r, slot: 2})}
		if to, ok := register(in.Args[0]); ok && to == r {
			if n, known := t.result(s, p); known {
				after[r] = n
			}
		}
	}
	s.regs = after
}

// result is the number that an instruction writes to its first operand.
func (t *tracker) result(s *flowState, p *placed) (value, bool) {
	in := &p.inst
	wide := in.DataSize == 64
	switch in.Op {
	case x86asm.MOV:
		if imm, ok := in.Args[1].(x86asm.Imm); ok {
			if !wide {
				return value{off: int64(uint32(imm))}, in.DataSize == 32
			}
			return value{off: int64(imm)}, true
		}
		v, known := t.operand(s, p, in.Args[1])
		if !wide {
			return v, known && v.id == constID || in.DataSize == 32 && known && t.exprs[v.id].kind == exprFresh
		}
		return v, known
	case x86asm.LEA:
		if m, ok := in.Args[1].(x86asm.Mem); ok && wide {
			return t.address(s, p, m)
		}
	case x86asm.ADD, x86asm.SUB:
		imm, ok := in.Args[1].(x86asm.Imm)
		r, isReg := register(in.Args[0])
		if ok && isReg && wide {
			v := s.regs[r]
			if v.off += int64(imm); in.Op == x86asm.SUB {
				v.off -= 2 * int64(imm)
			}
			return v, true
		}
	case x86asm.XOR:
		return value{}, in.Args[0] == in.Args[1]
	}
	return value{}, false
}

// operand is the number that an operand stands for.
func (t *tracker) operand(s *flowState, p *placed, arg x86asm.Arg) (value, bool) {
	switch a := arg.(type) {
	case x86asm.Reg:
		if r, ok := register(a); ok {
			return s.regs[r], true
		}
	case x86asm.Imm:
		return value{off: int64(a)}, true
	case x86asm.Mem:
		at, ok := t.address(s, p, a)
		if !ok {
			return value{}, false
		}
		return t.load(s, at, p.inst.MemBytes), true
	}
	return value{}, false
}

// address is the address of an operand in memory.
func (t *tracker) address(s *flowState, p *placed, m x86asm.Mem) (value, bool) {
	next := int64(t.start) + int64(p.at+p.inst.Len)
	switch {
	case m.Segment == x86asm.GS:
		// A variable of the processor's own: the same as long as the task stays.
		return value{id: t.intern(expr{kind: exprFresh, at: -1, slot: m.Disp + next*b2i(m.Base == x86asm.RIP)})}, m.Index == 0 && (m.Base == 0 || m.Base == x86asm.RIP)
	case m.Index != 0 && !(m.Scale == 1 && m.Base == 0):
		return value{}, false
	case m.Base == x86asm.RIP:
		return value{off: next + m.Disp}, true
	case m.Base == 0:
		return value{off: displacement(m)}, m.Index == 0
	}
	r, ok := register(m.Base)
	if !ok {
		return value{}, false
	}
	v := s.regs[r]
	v.off += m.Disp
	return v, true
}

// displacement is that of an operand in memory, whose 32 bits the decoder does not
// extend by their sign where there is no register.
func displacement(m x86asm.Mem) int64 {
	if m.Disp>>31 == 1 {
		return int64(int32(m.Disp))
	}
	return m.Disp
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// load is what is in memory at an address.
func (t *tracker) load(s *flowState, at value, size int) value {
	if t.onStack(at) {
		if v, ok := s.stack[at.off]; ok && size == 8 {
			return v
		}
	}
	return value{id: t.intern(expr{kind: exprLoad, from: at, size: size})}
}

func (t *tracker) onStack(at value) bool {
	e := t.exprs[at.id]
	return at.id != constID && e.kind == exprEntry && e.reg == SP
}

// spill stores a number on the stack.
func (t *tracker) spill(s *flowState, at value, size int, v value, known bool) {
	if !t.onStack(at) {
		return
	}
	for slot := at.off - 7; slot < at.off+int64(max(size, 1)); slot++ {
		delete(s.stack, slot)
	}
	if known && size == 8 {
		s.stack[at.off] = v
	}
}

// memory carries out an instruction that writes to memory: a store, which may give
// something back, or an atomic one, which may take it.
func (t *tracker) memory(s *flowState, p *placed, m x86asm.Mem) {
	in := &p.inst
	if t.perCPU(s, p, m) {
		t.flags(s, in)
		return
	}
	at, known := t.address(s, p, m)
	t.flags(s, in)
	site := t.start + uint64(p.at)
	switch in.Op {
	case x86asm.CMP, x86asm.TEST, x86asm.NOP, x86asm.BT, x86asm.PREFETCHW, x86asm.PREFETCHT0, x86asm.PREFETCHNTA:
		return
	case x86asm.PUSH:
		s.regs[SP].off -= 8
		t.spill(s, s.regs[SP], 8, t.load(s, at, 8), known)
		return
	case x86asm.CMPXCHG, x86asm.BTS:
		s.regs[AX] = value{id: t.intern(expr{kind: exprFresh, at: p.at, reg: AX, slot: 2})}
		if !known || !locked(in) {
			return
		}
		h := held{Taken: Taken{Site: site, Op: "cmpxchg", Size: in.MemBytes, Bit: -1, where: at}}
		if in.Op == x86asm.BTS {
			h.Op = "bts"
			if imm, ok := in.Args[1].(x86asm.Imm); ok {
				h.Bit = int(imm)
			}
		}
		s.take(h)
		s.site, s.op, s.zeroOf = site, in.Op, 0
		return
	case x86asm.POP:
		s.regs[SP].off += 8
	}
	if !known {
		return
	}
	v, ok := t.operand(s, p, in.Args[1])
	t.spill(s, at, in.MemBytes, v, ok && in.Op == x86asm.MOV)
	if !t.onStack(at) {
		s.store(in, at, site)
	}
}

// store gives back what an instruction that writes to memory may give back: a bit
// that it clears, or a lock whose word it changes.
func (s *flowState) store(in *x86asm.Inst, at value, site uint64) {
	imm, isImm := in.Args[1].(x86asm.Imm)
	switch in.Op {
	case x86asm.OR, x86asm.BTC:
		return
	case x86asm.AND, x86asm.BTR:
		kept := s.held[:0:0]
		for _, h := range s.held {
			cleared := h.Bit < 0 || !isImm || in.Op == x86asm.BTR && int(imm) == h.Bit || in.Op == x86asm.AND && h.Bit < 32 && int64(imm)>>h.Bit&1 == 0
			if h.where != at || h.Op == "cmpxchg" || !cleared {
				kept = append(kept, h)
			} else {
				s.unsure(at)
			}
		}
		s.held = kept
		return
	}
	s.give(at, Given{Site: site, Store: true})
}

// perCPU notes a counter of the processor's own that goes up or down, to which a
// pointer in memory leads: a percpu_rw_semaphore is taken and given back so.
func (t *tracker) perCPU(s *flowState, p *placed, m x86asm.Mem) bool {
	r, ok := register(m.Base)
	if m.Segment != x86asm.GS || !ok || m.Index != 0 || m.Disp != 0 {
		return false
	}
	e := t.exprs[s.regs[r].id]
	if e.kind != exprLoad || e.size != 8 || s.regs[r].off != 0 {
		return true
	}
	site := t.start + uint64(p.at)
	switch p.inst.Op {
	case x86asm.INC, x86asm.ADD:
		s.take(held{Taken: Taken{Site: site, Op: PerCPUCount, Size: p.inst.MemBytes, Bit: -1, Sure: true, where: e.from}})
	case x86asm.DEC, x86asm.SUB:
		s.give(e.from, Given{Site: site, Store: true})
	}
	return true
}

// PerCPUCount is the Op of what is taken by counting up a processor's own counter;
// its address is that of the pointer to the counter.
const PerCPUCount = "per-CPU count"

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
func (t *tracker) flags(s *flowState, in *x86asm.Inst) {
	switch in.Op {
	case x86asm.MOV, x86asm.LEA, x86asm.PUSH, x86asm.POP, x86asm.NOP, x86asm.MOVZX, x86asm.MOVSX, x86asm.MOVSXD, x86asm.LEAVE:
		return
	}
	s.zeroOf, s.site = 0, 0
	r, ok := register(in.Args[0])
	if !ok {
		return
	}
	imm, isImm := in.Args[1].(x86asm.Imm)
	if in.Op == x86asm.TEST && in.Args[0] == in.Args[1] || in.Op == x86asm.CMP && isImm && imm == 0 {
		s.zeroOf = s.regs[r].id
	}
}
