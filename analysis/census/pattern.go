package census

// Names are told apart by their pattern: what is a number, a hash or random in them
// is put in brackets, so that a million names of one maker are one pattern.

// What stands for a part of a name in a pattern.
const (
	anyNumber = "<n>"      // decimal digits
	anyHex    = "<hex>"    // eight or more hexadecimal digits, letters among them
	anyUUID   = "<uuid>"   // 8-4-4-4-12 hexadecimal digits
	anyRandom = "<random>" // letters and digits in no order, as mkstemp(3) makes them
)

// The classes of characters, as bits, so that those of a run can be joined.
const (
	digit    = 1 << iota // 0-9
	lowerHex             // a-f
	upperHex             // A-F
	lower                // g-z
	upper                // G-Z
)

var classes = func() (c [256]uint8) {
	for b := byte('0'); b <= '9'; b++ {
		c[b] = digit
	}
	for i := range byte(26) {
		c['a'+i], c['A'+i] = lower, upper
		if i < 6 {
			c['a'+i], c['A'+i] = lowerHex, upperHex
		}
	}
	return c
}()

const (
	minHex   = 8
	minMixed = 6 // the random letters and digits that mkstemp puts at the end
	changes  = 3 // from letters to digits or back that no name has by intent
	uuidSize = 36
)

// appendPattern appends the pattern of a name. It does not allocate where dst has
// room.
func appendPattern(dst, name []byte) []byte {
	for i := 0; i < len(name); {
		if classes[name[i]] == 0 {
			dst = append(dst, name[i])
			i++
			continue
		}
		if len(name)-i >= uuidSize && isUUID(name[i:i+uuidSize]) && (len(name)-i == uuidSize || classes[name[i+uuidSize]] == 0) {
			dst = append(dst, anyUUID...)
			i += uuidSize
			continue
		}
		end := i
		kinds := uint8(0)
		turns := 0
		before := classes[name[i]] & digit
		for end < len(name) && classes[name[end]] != 0 {
			kinds |= classes[name[end]]
			if now := classes[name[end]] & digit; now != before {
				turns, before = turns+1, now
			}
			end++
		}
		dst = appendRun(dst, name[i:end], kinds, turns)
		i = end
	}
	return dst
}

// appendRun appends the pattern of a run of letters and digits.
func appendRun(dst, run []byte, kinds uint8, turns int) []byte {
	switch {
	case kinds&digit == 0:
		return append(dst, run...)
	case kinds == digit:
		return append(dst, anyNumber...)
	case len(run) >= minHex && (kinds&^(digit|lowerHex) == 0 || kinds&^(digit|upperHex) == 0):
		return append(dst, anyHex...)
	case len(run) >= minMixed && turns >= changes:
		return append(dst, anyRandom...)
	}
	for i := 0; i < len(run); {
		if classes[run[i]]&digit == 0 {
			dst = append(dst, run[i])
			i++
			continue
		}
		dst = append(dst, anyNumber...)
		for i < len(run) && classes[run[i]]&digit != 0 {
			i++
		}
	}
	return dst
}

// isUUID tells whether 36 bytes are hexadecimal digits in groups of 8-4-4-4-12.
func isUUID(b []byte) bool {
	if b[8] != '-' || b[13] != '-' || b[18] != '-' || b[23] != '-' {
		return false
	}
	for i, c := range b {
		switch i {
		case 8, 13, 18, 23:
		default:
			if classes[c]&(digit|lowerHex|upperHex) == 0 {
				return false
			}
		}
	}
	return true
}
