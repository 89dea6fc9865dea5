package unwind

import "encoding/binary"

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
	}
	return e.compare(op, int64(a), int64(b))
}

// compare pushes 1 where a comparison holds, and 0 where it does not.
func (e *evaluator) compare(op byte, a, b int64) error {
	holds := false
	switch op {
	case opEq:
		holds = a == b
	case opNe:
		holds = a != b
	case opGe:
		holds = a >= b
	case opGt:
		holds = a > b
	case opLe:
		holds = a <= b
	case opLt:
		holds = a < b
	default:
		return ErrLocation // division, of which kernels have none
	}
	if holds {
		return e.push(1)
	}
	return e.push(0)
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
