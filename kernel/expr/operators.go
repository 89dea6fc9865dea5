package expr

import (
	"cmp"
	"errors"

	"github.com/kmortem/mortem/kernel/ctype"
)

var (
	unsignedInt  = &ctype.Type{Kind: ctype.Int, Name: "unsigned int", Bytes: 4}
	unsignedLong = &ctype.Type{Kind: ctype.Int, Name: "unsigned long", Bytes: 8}
	signedLong   = &ctype.Type{Kind: ctype.Int, Name: "long", Bytes: 8, Signed: true}
)

// pointerTo is the type of a pointer on a 64-bit machine.
func pointerTo(t *ctype.Type) *ctype.Type {
	return ctype.Lazy(&ctype.Type{Kind: ctype.Pointer, Bytes: 8}, func() ctype.Body { return ctype.Body{Elem: t} })
}

// target is the type that a pointer points to or that an array consists of.
func target(t *ctype.Type) (*ctype.Type, bool) {
	t = t.Strip()
	if t.Kind == ctype.Pointer || t.Kind == ctype.Array {
		return t.Elem(), true
	}
	return nil, false
}

// sizeOf is the size of a type in bytes. That of void and of a function is 1, as in
// GNU C. What is only declared has none.
func (p *parser) sizeOf(t *ctype.Type) (uint64, error) {
	switch s := t.Strip(); {
	case s.Kind == ctype.Void || s.Kind == ctype.Func:
		if err := s.Body().Err; err != nil {
			return 0, err
		}
		return 1, nil
	case s.Incomplete:
		return 0, p.fail("the size of %s is not known, the debug information only declares it", t)
	}
	return uint64(t.Size()), nil
}

func (p *parser) deref(v Value) (Value, error) {
	t, ok := target(v.typ)
	if !ok {
		return Value{}, p.fail("%s is no pointer", v.typ)
	}
	addr, err := v.Uint()
	if err != nil {
		return Value{}, err
	}
	return Value{object: p.k.ObjectOf(t, addr), typ: t}, nil
}

func (p *parser) address(v Value) (Value, error) {
	if t, ok := target(v.typ); v.object == nil && ok && t.Kind == ctype.Func {
		return v, nil // a function and its address are the same
	}
	if v.object == nil {
		return Value{}, p.fail("a number has no address")
	}
	if v.object.BitField() != 0 {
		return Value{}, p.fail("a bit-field has no address")
	}
	return Value{typ: pointerTo(v.typ), number: v.object.Addr()}, nil
}

func (p *parser) negate(v Value) (Value, error) {
	n, err := v.Uint()
	return Value{typ: signedLong, number: -n}, err
}

func (p *parser) invert(v Value) (Value, error) {
	n, err := v.Uint()
	switch {
	case !promoted(v.typ):
		return Value{typ: unsignedLong, number: ^n}, err
	case v.typ.Size() == 4 && !signed(v.typ): // as in C, so that ~0u of a u32 is a mask
		return Value{typ: unsignedInt, number: uint64(^uint32(n))}, err
	}
	return Value{typ: signedLong, number: ^n}, err
}

func (p *parser) not(v Value) (Value, error) {
	n, err := v.Uint()
	return truth(n == 0), err
}

// truth is what C's comparisons are.
func truth(b bool) Value {
	v := Value{typ: signedLong}
	if b {
		v.number = 1
	}
	return v
}

// member takes a member of a structure, or of what a pointer points to: both
// spellings are taken for both, as there is only one that can be meant.
func (p *parser) member(v Value, member string) (Value, error) {
	if v.object == nil || v.typ.Strip().Kind == ctype.Pointer {
		var err error
		if v, err = p.deref(v); err != nil {
			return v, err
		}
	}
	o := v.object.Field(member)
	if err := o.Err(); err != nil {
		return Value{}, err
	}
	return Value{object: o, typ: o.Type()}, nil
}

func (p *parser) index(v, i Value) (Value, error) {
	n, err := i.Uint()
	if err != nil {
		return Value{}, err
	}
	t, ok := target(v.typ)
	if !ok {
		return Value{}, p.fail("%s has no elements", v.typ)
	}
	// Arrays of 0 or 1 elements at the end of structures are used as flexible ones.
	if a := v.typ.Strip(); a.Kind == ctype.Array && a.Count > 1 && n >= uint64(a.Count) {
		return Value{}, p.fail("index %d of %s", int64(n), v.typ)
	}
	base, err := v.Uint()
	if err != nil {
		return Value{}, err
	}
	size, err := p.sizeOf(t)
	return Value{object: p.k.ObjectOf(t, base+n*size), typ: t}, err
}

func (p *parser) cast(t *ctype.Type, v Value) (Value, error) {
	switch t.Strip().Kind {
	case ctype.Pointer, ctype.Int, ctype.Enum:
	default:
		return Value{}, p.fail("nothing can be cast to %s; a pointer to it can", t)
	}
	n, err := v.Uint()
	if err != nil {
		return Value{}, err
	}
	if t.Strip().Encoding == ctype.Bool {
		n = min(n, 1)
	}
	if size := t.Size(); size > 0 && size < 8 {
		shift := uint(64 - 8*size)
		n <<= shift
		if signed(t) {
			n = uint64(int64(n) >> shift)
		} else {
			n >>= shift
		}
	}
	return Value{typ: t, number: n}, nil
}

// combine carries out a binary operator.
func (p *parser) combine(op string, a, b Value) (Value, error) {
	if op == "@" {
		return p.elements(a, b)
	}
	x, err := a.Uint()
	if err != nil {
		return Value{}, err
	}
	y, err := b.Uint()
	if err != nil {
		return Value{}, err
	}
	_, left := target(a.typ)
	_, right := target(b.typ)
	switch {
	case left && (op == "+" || op == "-"):
		return p.pointerSum(op, a.typ, b.typ, x, y)
	case right && op == "+":
		return p.pointerSum(op, b.typ, a.typ, y, x)
	}
	both := promoted(a.typ) && promoted(b.typ)
	if v, ok := compare(op, x, y, both); ok {
		return v, nil
	}
	if op == ">>" || op == "<<" {
		both = promoted(a.typ)
	}
	n, err := calculate(op, x, y, both)
	if err != nil {
		return Value{}, p.fail("%v", err)
	}
	if both {
		return Value{typ: signedLong, number: n}, nil
	}
	return Value{typ: unsignedLong, number: n}, nil
}

// maxArray bounds the arrays that a@n makes.
const maxArray = 1 << 20

// elements is a@n.
func (p *parser) elements(a, b Value) (Value, error) {
	n, err := b.Uint()
	if err != nil {
		return Value{}, err
	}
	if a.object == nil || a.object.BitField() != 0 || a.typ.Size() <= 0 {
		return Value{}, p.fail("what stands before @ is no object in memory")
	}
	if n == 0 || n > maxArray {
		return Value{}, p.fail("%d elements", int64(n))
	}
	t := ctype.Lazy(&ctype.Type{Kind: ctype.Array, Count: int64(n)}, func() ctype.Body { return ctype.Body{Elem: a.typ} })
	return Value{object: p.k.ObjectOf(t, a.object.Addr()), typ: t}, nil
}

// pointerSum adds to a pointer, which counts in elements, or takes two of them
// from each other.
func (p *parser) pointerSum(op string, a, b *ctype.Type, x, y uint64) (Value, error) {
	t, _ := target(a)
	size, err := p.sizeOf(t)
	if err != nil {
		return Value{}, err
	}
	if _, both := target(b); both {
		if op == "+" {
			return Value{}, p.fail("two pointers cannot be added")
		}
		return Value{typ: signedLong, number: uint64(int64(x-y) / max(int64(size), 1))}, nil
	}
	if op == "-" {
		y = -y
	}
	return Value{typ: pointerTo(t), number: x + y*size}, nil
}

// compare carries out comparisons; ok is false for other operators.
func compare(op string, x, y uint64, signed bool) (v Value, ok bool) {
	order := cmp.Compare(x, y)
	if signed {
		order = cmp.Compare(int64(x), int64(y))
	}
	switch op {
	case "==":
		return truth(order == 0), true
	case "!=":
		return truth(order != 0), true
	case "<":
		return truth(order < 0), true
	case ">":
		return truth(order > 0), true
	case "<=":
		return truth(order <= 0), true
	case ">=":
		return truth(order >= 0), true
	}
	return Value{}, false
}

func calculate(op string, x, y uint64, signed bool) (uint64, error) {
	switch op {
	case "+":
		return x + y, nil
	case "-":
		return x - y, nil
	case "*":
		return x * y, nil
	case "/", "%":
		return divide(op, x, y, signed)
	case "<<":
		return x << y, nil
	case ">>":
		if signed {
			return uint64(int64(x) >> y), nil
		}
		return x >> y, nil
	case "&":
		return x & y, nil
	case "|":
		return x | y, nil
	}
	return x ^ y, nil
}

func divide(op string, x, y uint64, signed bool) (uint64, error) {
	switch {
	case y == 0:
		return 0, errors.New("division by zero")
	case signed && op == "/":
		return uint64(int64(x) / int64(y)), nil
	case signed:
		return uint64(int64(x) % int64(y)), nil
	case op == "/":
		return x / y, nil
	}
	return x % y, nil
}
