package btfwrite

import (
	"fmt"
	"math"

	"github.com/kmortem/mortem/kernel/ctype"
)

// flush writes the members of structs and enums that have ids, which can bring
// in more of them.
func (e *Encoder) flush() {
	for len(e.pending) > 0 {
		p := e.pending[len(e.pending)-1]
		e.pending = e.pending[:len(e.pending)-1]
		var record []byte
		switch {
		case p.t.Kind == ctype.Enum:
			record = e.enum(p.t)
		case p.t.Incomplete:
			record = e.forward(p.t)
		default:
			record = e.structure(p.t)
		}
		e.records[p.id-e.first] = record
	}
}

const flagBit = 1 << 31

func (e *Encoder) forward(t *ctype.Type) []byte {
	info := uint32(kindFwd << 24)
	if t.Kind == ctype.Union {
		info |= flagBit
	}
	return e.encode(t.Name, info, 0)
}

// structure writes a struct or union. With bit-fields, offsets have 24 bits
// and the width of the bit-field above them.
func (e *Encoder) structure(t *ctype.Type) []byte {
	members := t.Members()
	info := uint32(kindStruct<<24) | uint32(len(members))
	if t.Kind == ctype.Union {
		info = kindUnion<<24 | uint32(len(members))
	}
	fields := false
	for i := range members {
		fields = fields || members[i].BitSize > 0
	}
	if fields {
		info |= flagBit
	}
	if len(members) > math.MaxUint16 || t.Bytes > math.MaxUint32 {
		e.fail("%s is too large for BTF", t)
		members, info = nil, kindStruct<<24
	}
	numbers := []uint32{info, uint32(t.Bytes)}
	for _, m := range members {
		bit := m.Offset*8 + int64(m.BitOffset)
		if bit >= 1<<32 || fields && bit >= 1<<24 {
			e.fail("member %s of %s begins at bit %d, which is too far for BTF", m.Name, t, bit)
		}
		numbers = append(numbers, e.str(m.Name), e.id(m.Type), uint32(bit)|uint32(m.BitSize)<<24)
	}
	return e.encode(t.Name, numbers...)
}

// enum writes an enum, in the form for 64 bits where a constant needs them.
func (e *Encoder) enum(t *ctype.Type) []byte {
	list := t.Enumerators()
	if len(list) > math.MaxUint16 {
		e.fail("%s is too large for BTF", t)
		list = nil
	}
	wide := t.Bytes > 4
	for i := range list {
		v := list[i].Value
		wide = wide || t.Signed && int64(int32(v)) != v || !t.Signed && uint64(v)>>32 != 0
	}
	kind := uint32(kindEnum)
	if wide {
		kind = kindEnum64
	}
	info := kind<<24 | uint32(len(list))
	if t.Signed {
		info |= flagBit
	}
	size := uint32(t.Bytes)
	if size == 0 && len(list) > 0 {
		size = 4
	}
	numbers := []uint32{info, size}
	for _, c := range list {
		numbers = append(numbers, e.str(c.Name), uint32(c.Value))
		if wide {
			numbers = append(numbers, uint32(uint64(c.Value)>>32))
		}
	}
	return e.encode(t.Name, numbers...)
}

func (e *Encoder) fail(format string, args ...any) {
	if e.failed == nil {
		e.failed = fmt.Errorf(format, args...)
	}
}

// same tells whether two types of one name are the same, as far as that can be
// seen without following pointers: an incomplete one is the same as any.
func same(a, b *ctype.Type) bool {
	if a == b {
		return true
	}
	if a.Kind != b.Kind || a.Name != b.Name {
		return false
	}
	if b.Incomplete {
		return true
	}
	if a.Incomplete || a.Bytes != b.Bytes || a.Signed != b.Signed || a.Encoding != b.Encoding {
		return false
	}
	switch a.Kind {
	case ctype.Typedef:
		return sameTarget(a.Elem(), b.Elem())
	case ctype.Struct, ctype.Union:
		return sameMembers(a.Members(), b.Members())
	case ctype.Enum:
		return sameConstants(a.Enumerators(), b.Enumerators())
	}
	return true
}

func sameTarget(a, b *ctype.Type) bool {
	if a.Kind != b.Kind || a.Name != b.Name || a.Size() != b.Size() {
		return false
	}
	if a.Kind == ctype.Struct || a.Kind == ctype.Union {
		return a.Name != "" || sameMembers(a.Members(), b.Members())
	}
	return a.Name != "" || a.String() == b.String()
}

func sameMembers(a, b []ctype.Member) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := &a[i], &b[i]
		if x.Name != y.Name || x.Offset != y.Offset || x.BitOffset != y.BitOffset || x.BitSize != y.BitSize || x.Type.Kind != y.Type.Kind || x.Type.Name != y.Type.Name {
			return false
		}
	}
	return true
}

func sameConstants(a, b []ctype.Enumerator) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
