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
	switch op {
	case opNop:
		return nil
	case opAddr:
		v, ok := e.fixed(8)
		if !ok {
			return ErrLocation
		}
		return e.push(e.t.runtime(v))
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

// constant pushes a number of 1, 2, 4 or 8 bytes, of which each second operation
// is signed.
func (e *evaluator) constant(op byte) error {
	size := 1 << ((op - opConst1u) / 2)
	v, ok := e.fixed(size)
	if !ok {
		return ErrLocation
	}
	if op&1 != 0 {
		shift := 64 - 8*size
		v = uint64(int64(v<<shift) >> shift)
	}
	return e.push(v)
}

func (e *evaluator) shuffle(op byte) error {
	n := len(e.stack)
	switch op {
	case opDup:
		return e.pick(0)
	case opOver:
		return e.pick(1)
	case opPick:
		i, ok := e.fixed(1)
		if !ok {
			return ErrLocation
		}
		return e.pick(int(i))
	case opDrop:
		_, err := e.pop()
		return err
	case opSwap:
		if n < 2 {
			return ErrLocation
		}
		e.stack[n-1], e.stack[n-2] = e.stack[n-2], e.stack[n-1]
	case opRot:
		if n < 3 {
			return ErrLocation
		}
		e.stack[n-1], e.stack[n-2], e.stack[n-3] = e.stack[n-2], e.stack[n-3], e.stack[n-1]
	default:
		return ErrLocation
	}
	return nil
}

func (e *evaluator) pick(i int) error {
	if i >= len(e.stack) {
		return ErrLocation
	}
	return e.push(e.stack[len(e.stack)-1-i])
}

// arithmetic carries out an operation on one or two numbers.
func (e *evaluator) arithmetic(op byte) error {
	b, err := e.pop()
	if err != nil {
		return err
	}
	switch op {
	case opAbs:
		if int64(b) < 0 {
			b = -b
		}
		return e.push(b)
	case opNeg:
		return e.push(-b)
	case opNot:
		return e.push(^b)
	}
	a, err := e.pop()
	if err != nil {
		return err
	}
	truth := func(is bool) error {
		if is {
			return e.push(1)
		}
		return e.push(0)
	}
	switch op {
	case opAnd:
		return e.push(a & b)
	case opOr:
		return e.push(a | b)
	case opXor:
		return e.push(a ^ b)
	case opPlus:
		return e.push(a + b)
	case opMinus:
		return e.push(a - b)
	case opMul:
		return e.push(a * b)
	case opShl:
		return e.push(a << min(b, 64))
	case opShr:
		return e.push(a >> min(b, 64))
	case opShra:
		return e.push(uint64(int64(a) >> min(b, 64)))
	case opEq:
		return truth(a == b)
	case opNe:
		return truth(a != b)
	case opGe:
		return truth(int64(a) >= int64(b))
	case opGt:
		return truth(int64(a) > int64(b))
	case opLe:
		return truth(int64(a) <= int64(b))
	case opLt:
		return truth(int64(a) < int64(b))
	}
	return ErrLocation // division, of which kernels have none
}

func (e *evaluator) fixed(n int) (uint64, bool) {
	if len(e.data)-e.at < n {
		return 0, false
	}
	var buf [8]byte
	copy(buf[:], e.data[e.at:e.at+n])
	e.at += n
	return binary.LittleEndian.Uint64(buf[:]), true
}

func (e *evaluator) uleb() (uint64, bool) { return e.leb(false) }

func (e *evaluator) leb(signed bool) (uint64, bool) {
	var v uint64
	for shift := 0; e.at < len(e.data) && shift < 70; shift += 7 {
		b := e.data[e.at]
		e.at++
		if shift < 64 {
			v |= uint64(b&0x7f) << shift
		}
		if b&0x80 == 0 {
			if signed && b&0x40 != 0 && shift+7 < 64 {
				v |= ^uint64(0) << (shift + 7)
			}
			return v, true
		}
	}
	return 0, false
}
