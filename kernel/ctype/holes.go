package ctype

import "fmt"

// holes follows the members of a struct and finds the bits between them.
type holes struct {
	union bool
	end   int64 // bit behind the furthest member so far
	n     int
	bits  int64
}

// extent is the first bit of a member and the one behind its last.
func (m Member) extent() (first, end int64) {
	first = m.Offset*8 + int64(m.BitOffset)
	if m.BitSize > 0 {
		return first, first + int64(m.BitSize)
	}
	return first, first + m.Type.Size()*8
}

// before describes the hole before a member, empty if there is none.
func (h *holes) before(m Member) string {
	first, end := m.extent()
	gap := first - h.end
	h.end = max(h.end, end)
	if h.union || gap <= 0 {
		return ""
	}
	return h.note(gap, "hole")
}

// atEnd describes what is unused at the struct's end.
func (h *holes) atEnd(t *Type) string {
	gap := t.Bytes*8 - h.end
	if h.union || gap <= 0 {
		return ""
	}
	return describeGap(gap, "padding")
}

func (h *holes) note(gap int64, what string) string {
	h.n++
	h.bits += gap
	return describeGap(gap, what)
}

func describeGap(bits int64, what string) string {
	switch whole, rest := bits/8, bits%8; {
	case rest == 0:
		return fmt.Sprintf("%d bytes %s", whole, what)
	case whole == 0:
		return fmt.Sprintf("%d bits %s", rest, what)
	default:
		return fmt.Sprintf("%d bytes and %d bits %s", whole, rest, what)
	}
}

// sum tells about all holes, for the end of the struct.
func (h *holes) sum() string {
	if h.n == 0 {
		return ""
	}
	return fmt.Sprintf(", holes: %d (%s)", h.n, describeGap(h.bits, "in all"))
}
