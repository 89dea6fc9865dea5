package btf

import (
	"github.com/kmortem/mortem/kernel/ctype"
)

// makeStruct decodes a struct or union; each element is a member: name, type,
// offset.
func (t *Types) makeStruct(c *ctype.Type, r record) *ctype.Type {
	c.Kind = ctype.Struct
	if r.kind == kindUnion {
		c.Kind = ctype.Union
	}
	return ctype.Lazy(c, func() ctype.Body {
		members := make([]ctype.Member, r.n)
		for i := range members {
			members[i] = t.member(&r, i)
		}
		return ctype.Body{Members: members}
	})
}

// member decodes the i-th member. Offsets are in bits. Where the struct has
// the flag, since 5.0, the highest 8 bits are the width of a bit-field; before,
// a bit-field was one for its type, an integer with fewer bits than its size has.
func (t *Types) member(r *record, i int) ctype.Member {
	id, offset := r.u32(3*i+1), r.u32(3*i+2)
	name, typ := t.strings.show(r.u32(3*i)), t.at(id)
	if r.flag {
		return ctype.MemberAt(name, typ, int64(offset&0xffffff), uint8(offset>>24))
	}
	start, width := t.partOfInt(id)
	return ctype.MemberAt(name, typ, int64(offset)+start, width)
}

// partOfInt returns which bits of its bytes an integer type has, if not all.
func (t *Types) partOfInt(id uint32) (start int64, bits uint8) {
	r := t.record(id)
	for range maxHops {
		switch r.kind {
		case kindTypedef, kindConst, kindVolatile, kindRestrict, kindTypeTag:
			r = t.record(r.size)
			continue
		}
		break
	}
	if r.kind != kindInt {
		return 0, 0
	}
	n := r.u32(0)
	if bits = uint8(n); uint32(bits) == r.size*8 {
		return 0, 0
	}
	return int64(n >> 16 & 0xff), bits
}
