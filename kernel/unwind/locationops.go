package unwind

import (
	"encoding/binary"

	"github.com/kmortem/mortem/kernel/arch"
)

// operation carries out one operation that works on the stack of an expression.
func (e *evaluator) operation() error {
	op := e.data[e.at]
	e.at++
	switch {
	case op >= opLit0 && op < opLit0+32:
		return e.push(uint64(op - opLit0))
	case op >= opBreg0 && op < opBreg0+32:
		return e.based(arch.Reg(op - opBreg0))
	case op >= opConst1u && op <= opConst8s:
		return e.constant(op)
	case op >= opAbs && op <= opNe && op != opPlusUconst && op != opBra:
		return e.arithmetic(op)
	case op >= opDup && op <= opRot:
		return e.shuffle(op)
	}
	return e.other(op)
}

// other carries out the operations that are no family.
func (e *evaluator) other(op byte) error {
	switch op {
	case opNop:
		return nil
	case opAddr:
		v, ok := e.fixed(8)
		if !ok {
			return ErrLocation
		}
		if v, ok = e.t.runtime(e.f, v); !ok {
			return ErrLocation
		}
		return e.push(v)
	case opConstu, opConsts:
		v, ok := e.leb(op == opConsts)
		if !ok {
			return ErrLocation
		}
		return e.push(v)
	case opBregx:
		n, _ := e.uleb()
		return e.based(arch.Reg(min(n, arch.MaxRegs)))
	case opFbreg:
		return e.frameBased()
	case opCallFrameCFA:
		if e.f.CFA == 0 {
			return ErrUnknownRegister
		}
		return e.push(e.f.CFA)
	case opDeref:
		return e.deref(8)
	case opDerefSize:
		n, ok := e.fixed(1)
		if !ok || n == 0 || n > 8 {
			return ErrLocation
		}
		return e.deref(int(n))
	case opPlusUconst:
		n, ok := e.uleb()
		v, err := e.pop()
		if !ok || err != nil {
			return ErrLocation
		}
		return e.push(v + n)
	case opBra, opSkip:
		return e.jump(op)
	case opConvert, opReinterp, opGNUConvert, opGNUReinterp:
		// To a type of the same width, as far as kernels have it.
		_, _ = e.uleb()
		return nil
	case opEntryValue, opGNUEntryValue:
		return e.entryValue()
	case opParameterRef:
		return ErrEntryValue
	}
	return ErrLocation
}

// based pushes a register plus an offset.
func (e *evaluator) based(r arch.Reg) error {
	off, ok := e.leb(true)
	v, known := e.f.Registers.Get(r)
	switch {
	case !ok:
		return ErrLocation
	case !known:
		return ErrUnknownRegister
	}
	return e.push(v + off)
}

// frameBased pushes an offset from the function's frame base.
func (e *evaluator) frameBased() error {
	off, ok := e.leb(true)
	if !ok || e.inner {
		return ErrLocation
	}
	inner := evaluator{t: e.t, f: e.f, inner: true}
	loc, err := inner.location(e.base)
	if err != nil {
		return err
	}
	if loc.Pieces != nil {
		return ErrLocation
	}
	if loc.Memory {
		return e.push(loc.Addr + off)
	}
	return e.push(loc.Value + off)
}

// entryValue pushes what a register was at the function's entry.
func (e *evaluator) entryValue() error {
	n, ok := e.uleb()
	if !ok || n > uint64(len(e.data)-e.at) {
		return ErrLocation
	}
	inner := e.data[e.at : e.at+int(n)]
	e.at += int(n)
	if e.trace == nil || len(inner) != 1 || inner[0] < opReg0 || inner[0] >= opReg0+32 {
		return ErrEntryValue
	}
	v, likely, ok := e.t.EntryRegister(e.trace, e.index, arch.Reg(inner[0]-opReg0))
	if !ok {
		return ErrEntryValue
	}
	e.entry, e.likely = true, e.likely || likely
	return e.push(v)
}

func (e *evaluator) deref(n int) error {
	addr, err := e.pop()
	if err != nil {
		return err
	}
	var buf [8]byte
	if _, err := e.t.mem.Read(buf[:n], addr); err != nil {
		return err
	}
	return e.push(binary.LittleEndian.Uint64(buf[:]))
}

func (e *evaluator) jump(op byte) error {
	v, ok := e.fixed(2)
	if !ok {
		return ErrLocation
	}
	if op == opBra {
		if c, err := e.pop(); err != nil || c == 0 {
			return err
		}
	}
	to := e.at + int(int16(v))
	if to < 0 || to > len(e.data) {
		return ErrLocation
	}
	e.at = to
	return nil
}
