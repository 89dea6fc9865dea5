package expr

import (
	"strings"

	"github.com/kmortem/mortem/kernel/ctype"
)

// sizeof is sizeof(type) or sizeof(expression).
func (p *parser) sizeof() (Value, error) {
	if t, ok, err := p.castType(); err != nil || ok {
		if err != nil {
			return Value{}, err
		}
		size, err := p.sizeOf(t)
		return Value{typ: unsignedLong, number: size}, err
	}
	v, err := p.unary()
	if err != nil {
		return v, err
	}
	if v.object != nil && v.object.BitField() != 0 {
		return Value{}, p.fail("a bit-field has no size in bytes")
	}
	size, err := p.sizeOf(v.typ)
	return Value{typ: unsignedLong, number: size}, err
}

// containerOf is container_of(pointer, type, member).
func (p *parser) containerOf() (Value, error) {
	if err := p.expect("("); err != nil {
		return Value{}, err
	}
	v, err := p.binary(0)
	if err != nil {
		return v, err
	}
	if err := p.expect(","); err != nil {
		return Value{}, err
	}
	m, err := p.typeMember()
	if err != nil {
		return Value{}, err
	}
	addr, err := v.Uint()
	if err != nil {
		return Value{}, err
	}
	return Value{typ: pointerTo(m.of), number: addr - uint64(m.field.Offset)}, nil
}

// offsetOf is offsetof(type, member).
func (p *parser) offsetOf() (Value, error) {
	if err := p.expect("("); err != nil {
		return Value{}, err
	}
	m, err := p.typeMember()
	if err != nil {
		return Value{}, err
	}
	if m.field.BitSize != 0 {
		return Value{}, p.fail("%s is a bit-field, which has no offset in bytes", m.path)
	}
	return Value{typ: unsignedLong, number: uint64(m.field.Offset)}, nil
}

// typeMember is a member of a type, as functions take it.
type typeMember struct {
	of    *ctype.Type
	path  string
	field ctype.Field
}

// typeMember reads a type, a comma and a path of members, up to a closing parenthesis.
func (p *parser) typeMember() (m typeMember, err error) {
	if m.of, err = p.typeName(); err != nil {
		return m, err
	}
	if err = p.expect(","); err != nil {
		return m, err
	}
	if m.path, err = p.memberPath(); err != nil {
		return m, err
	}
	m.field, err = m.of.Field(m.path)
	return m, err
}

// memberPath is a path of members up to a closing parenthesis.
func (p *parser) memberPath() (string, error) {
	var path strings.Builder
	for before := end; !p.accept(")"); {
		if p.tok.kind == end || p.err != nil || p.tok.kind != punct && before != end && before != punct {
			return "", p.fail("%q is expected here", ")")
		}
		path.WriteString(p.tok.text)
		before = p.tok.kind
		p.next()
	}
	return path.String(), nil
}

// perCPU is per_cpu(variable, cpu).
func (p *parser) perCPU() (Value, error) {
	if err := p.expect("("); err != nil {
		return Value{}, err
	}
	v, err := p.unary()
	if err != nil {
		return v, err
	}
	if err := p.expect(","); err != nil {
		return Value{}, err
	}
	n, err := p.binary(0)
	if err != nil {
		return n, err
	}
	if err := p.expect(")"); err != nil {
		return Value{}, err
	}
	cpu, err := n.Uint()
	if err != nil {
		return Value{}, err
	}
	if v.object == nil || v.typ.Strip().Kind == ctype.Void {
		return Value{}, p.fail("per_cpu takes a variable")
	}
	addr, err := p.k.PerCPU(v.object.Addr(), cpu)
	if err != nil {
		return Value{}, err
	}
	return Value{object: p.k.ObjectOf(v.typ, addr), typ: v.typ}, nil
}
