package dwarf

import (
	"cmp"
	"fmt"
	"math"

	"github.com/kmortem/mortem/kernel/ctype"
)

// makeStruct decodes a struct or union without its members.
func (d *Data) makeStruct(t *ctype.Type, e *die, table *shapes) *ctype.Type {
	t.Kind = ctype.Struct
	if e.shape.tag == tagUnionType {
		t.Kind = ctype.Union
	}
	if e.declared || e.signature != 0 {
		t.Incomplete = true
		t.Bytes = 0
		return t
	}
	copied := *e
	return d.lazy(t, func() ctype.Body { return d.members(t, &copied, table) })
}

// members decodes the members of a struct or union.
func (d *Data) members(t *ctype.Type, e *die, table *shapes) ctype.Body {
	var body ctype.Body
	err := d.children(e, table, func(child *die) bool {
		if child.shape.tag != tagMember {
			return true
		}
		m, err := d.member(child)
		if err == nil {
			err = d.spend(1)
		}
		if err != nil {
			body.Err = err
			return false
		}
		body.Members = append(body.Members, m)
		return true
	})
	if body.Err == nil {
		body.Err = err
	}
	return body
}

// member decodes one member.
func (d *Data) member(e *die) (ctype.Member, error) {
	m := ctype.Member{Name: d.space.show(e.name), Type: d.typeOf(e)}
	offset, ok := memberOffset(e)
	if !ok {
		return m, fmt.Errorf("member %q at %s has a location that is not a constant", m.Name, d.space.describe(e.place()))
	}
	m.Offset = offset
	bits, isField := e.bitSize.constant(128)
	if !isField {
		return m, nil
	}
	first, err := firstBit(&m, e, int64(bits))
	return ctype.MemberAt(m.Name, m.Type, first, uint8(bits)), err
}

// memberOffset is the member's offset in bytes. DWARF 2 wrote it as an
// expression: DW_OP_plus_uconst and a number.
func memberOffset(e *die) (int64, bool) {
	const opPlusUconst, opConstu = 0x23, 0x10
	v := e.memberLocation
	switch v.class {
	case classNone:
		return 0, true // union members, and bit-fields with DW_AT_data_bit_offset
	case classConstant, classSigned:
		return int64(v.u), v.u <= maxBytes
	case classBlock:
		c := cursor{data: v.block}
		op := c.u8()
		n := c.uleb()
		return int64(n), !c.bad && !c.more() && (op == opPlusUconst || op == opConstu) && n <= maxBytes
	}
	return 0, false
}

// firstBit finds where in its struct a bit-field begins: from
// DW_AT_data_bit_offset, which counts from the start of the struct (DWARF 4 and
// 5, section 5.7.6), or from the older DW_AT_bit_offset, which counts from the
// most significant bit of a storage unit of DW_AT_byte_size bytes (DWARF 3,
// section 5.6.6).
func firstBit(m *ctype.Member, e *die, width int64) (int64, error) {
	first := m.Offset * 8
	if n, ok := e.dataBitOffset.constant(math.MaxInt64 / 16); ok {
		first += int64(n)
	} else if e.bitOffset.class == classConstant || e.bitOffset.class == classSigned {
		unit := m.Type.Size()
		if n, ok := e.byteSize.constant(16); ok && n > 0 {
			unit = int64(n)
		}
		n := int64(e.bitOffset.u)
		if n < -128 || n > 128 {
			return 0, fmt.Errorf("bit-field %q begins at bit %d of its storage unit", m.Name, n)
		}
		first += unit*8 - n - width
	}
	if first < 0 {
		return 0, fmt.Errorf("bit-field %q begins before its struct", m.Name)
	}
	return first, nil
}

// makeEnum decodes an enum without its constants.
func (d *Data) makeEnum(t *ctype.Type, e *die, table *shapes) *ctype.Type {
	t.Kind = ctype.Enum
	if e.declared || e.signature != 0 {
		t.Incomplete = true
		return t
	}
	copied := *e
	t.Signed = d.signed(e, table)
	return d.lazy(t, func() ctype.Body {
		body := ctype.Body{Elem: d.elem(&copied)}
		err := d.children(&copied, table, func(child *die) bool {
			if child.shape.tag != tagEnumerator {
				return true
			}
			body.Enumerators = append(body.Enumerators, ctype.Enumerator{Name: d.space.show(child.name), Value: int64(child.constValue.u)})
			body.Err = d.spend(1)
			return body.Err == nil
		})
		if body.Err == nil {
			body.Err = err
		}
		return body
	})
}

// signed tells whether an enum's constants are: by the integer type, which
// compilers name since DWARF 3, or by a negative constant.
func (d *Data) signed(e *die, table *shapes) bool {
	integer := *e
	for range maxHops {
		next, _, err := d.dieAt(integer.typ)
		if err != nil {
			break
		}
		if next.shape.tag == tagBaseType {
			return next.encoding == encSigned || next.encoding == encSignedChar
		}
		integer = next
	}
	negative := false
	_ = d.children(e, table, func(child *die) bool {
		negative = negative || child.constValue.class == classSigned && int64(child.constValue.u) < 0
		return !negative
	})
	return negative
}

// representative finds the DIE that stands for all DIEs of the same type: the
// definition for a declaration, and for a type from a header, which is met
// again in each unit, the one in the index.
func (d *Data) representative(e *die, table *shapes) place {
	self := e.place()
	if e.signature != 0 {
		if p := d.sigs[e.signature]; p != 0 {
			return p
		}
	}
	kind := kindOfTag(e.shape.tag)
	if kind == kindNone || kind > kindOrdinary || e.name == 0 {
		return self
	}
	name := d.space.string(e.name)
	best, ok := d.names.lookup(kind, name)
	if !ok || best.die == self {
		return self
	}
	if e.declared {
		return best.die
	}
	if d.same(e, table, best.die) {
		return best.die
	}
	return self
}

// same tells whether the DIE and the one at a place define the same type, by
// size, line and column and the names and places of the members.
func (d *Data) same(e *die, table *shapes, p place) bool {
	o, otherTable, err := d.dieAt(p)
	if err != nil || o.declared || o.shape.tag != e.shape.tag || o.byteSize.u != e.byteSize.u || o.line != e.line || o.column != e.column || o.encoding != e.encoding {
		return false
	}
	if e.shape.tag == tagTypedef {
		return d.sameTarget(e, &o)
	}
	return d.sameChildren(e, table, &o, otherTable)
}

// sameTarget compares what two typedefs stand for, one step deep.
func (d *Data) sameTarget(a, b *die) bool {
	if a.typ == 0 || b.typ == 0 {
		return a.typ == b.typ && a.typeSignature == b.typeSignature
	}
	x, xTable, err := d.dieAt(a.typ)
	if err != nil {
		return false
	}
	y, yTable, err := d.dieAt(b.typ)
	if err != nil || x.shape.tag != y.shape.tag || x.byteSize.u != y.byteSize.u || d.space.string(x.name) != d.space.string(y.name) {
		return false
	}
	return x.name != 0 || d.sameChildren(&x, xTable, &y, yTable)
}

// mark is what two children of the same type have in common.
type mark struct {
	name                                 string
	offset, bitOffset, bitSize, dataBits uint64
	value                                uint64
	line                                 uint32
}

func (d *Data) marks(e *die, table *shapes) ([]mark, error) {
	var list []mark
	var spent error
	err := d.children(e, table, func(c *die) bool {
		offset, _ := memberOffset(c)
		list = append(list, mark{d.space.show(c.name), uint64(offset), c.bitOffset.u, c.bitSize.u, c.dataBitOffset.u, c.constValue.u, c.line})
		spent = d.spend(1)
		return spent == nil
	})
	return list, cmp.Or(spent, err)
}

func (d *Data) sameChildren(a *die, aTable *shapes, b *die, bTable *shapes) bool {
	x, err := d.marks(a, aTable)
	if err != nil {
		return false
	}
	y, err := d.marks(b, bTable)
	if err != nil || len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i] != y[i] {
			return false
		}
	}
	return true
}
