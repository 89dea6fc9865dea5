package census

import "encoding/binary"

// recent is the name before, with what stands for its pattern. Names that differ in
// digits only, place by place, have the same pattern: it is found for the first of them,
// and the others are compared eight bytes at a time.
type recent struct {
	name [256]byte
	len  int // 0 for none
	key  uint64
}

// remember keeps a name, if it is neither empty nor too long.
func (r *recent) remember(name []byte, key uint64) {
	if r.len = 0; len(name) <= len(r.name) {
		r.len, r.key = copy(r.name[:], name), key
	}
}

// alike tells whether a name differs from the one before in digits only.
func (r *recent) alike(name []byte) bool {
	n := len(name)
	if n != r.len || n == 0 {
		return false
	}
	if n < 8 {
		for i, c := range name {
			if c != r.name[i] && (classes[c]&digit == 0 || classes[r.name[i]]&digit == 0) {
				return false
			}
		}
		return true
	}
	before := r.name[:n]
	for i := 0; i+8 <= n; i += 8 {
		if !alikeWords(binary.LittleEndian.Uint64(name[i:]), binary.LittleEndian.Uint64(before[i:])) {
			return false
		}
	}
	return alikeWords(binary.LittleEndian.Uint64(name[n-8:]), binary.LittleEndian.Uint64(before[n-8:]))
}

// A word of eight bytes that are all the same.
const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// alikeWords is alike for eight bytes.
func alikeWords(a, b uint64) bool {
	differ := a ^ b
	return differ == 0 || nonZero(differ)&(noDigits(a)|noDigits(b)) == 0
}

// nonZero has the highest bit of each byte that is not zero.
func nonZero(w uint64) uint64 { return (w&^highs + 0x7f*ones | w) & highs }

// noDigits has the highest bit of each byte that is no decimal digit. Of a byte behind
// one that is none it may have it too.
func noDigits(w uint64) uint64 {
	w ^= '0' * ones
	return nonZero((w | (w + 6*ones)) & (0xf0 * ones))
}
