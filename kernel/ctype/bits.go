package ctype

// MemberAt makes a member that begins at a bit of its struct, counted from the
// least significant bit of the first byte. A width makes it a bit-field: it
// then counts its bits from the start of a unit of its type's size and
// alignment, or, where it crosses such units, as in packed structs, from the
// byte where it begins. Readers must then read (BitOffset+BitSize+7)/8 bytes,
// which can be one more than the type has.
func MemberAt(name string, t *Type, bit int64, width uint8) Member {
	m := Member{Name: name, Type: t, Offset: bit / 8}
	if width == 0 {
		return m
	}
	m.BitSize = width
	m.BitOffset = uint8(bit % 8)
	unit := t.Size() * 8
	if unit > 0 && unit <= 128 && bit%unit+int64(width) <= unit {
		m.Offset, m.BitOffset = bit/unit*(unit/8), uint8(bit%unit)
	}
	return m
}
