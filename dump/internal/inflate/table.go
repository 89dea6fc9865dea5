package inflate

import "math/bits"

// Numbers of codes, and how many bits of a code its table looks at first. Longer
// codes go on in a second table, which lies behind the first.
const (
	maxLit  = 288
	maxDist = 32
	maxCode = 15

	litBits  = 10
	distBits = 8
	preBits  = 7
	litMask  = 1<<litBits - 1
	distMask = 1<<distBits - 1

	// No set of codes needs more entries than 1,334 and 402 (as computed by
	// zlib's examples/enough.c); a power of two spares a bounds check.
	litSize  = 2048
	distSize = 512
)

type (
	litTable  struct{ entries [litSize]uint32 }
	distTable struct{ entries [distSize]uint32 }
	preTable  struct{ entries [1 << preBits]uint32 }
)

// An entry of a table says what the bits at hand are the code of:
//
//	bits  0-5   length of the code with its extra bits
//	bits  8-11  length of the code alone; of a kindSub: bits of the second table
//	bits 12-15  kind, none of them for a length or a distance
//	bits 16-31  literal, or base of the length or distance; of a kindSub: index
//	            of the second table
const (
	kindLiteral = 1 << 12
	kindEnd     = 1 << 13
	kindSub     = 1 << 14
	kindBad     = 1 << 15 // no code begins so
)

// Values of the symbols, without the length of their codes: extra bits in the
// low byte. RFC 1951, 3.2.5.
var (
	litValues  [maxLit]uint32
	distValues [maxDist]uint32
	preValues  [19]uint32

	fixedLit  litTable
	fixedDist distTable
)

func init() {
	for i := range 256 {
		litValues[i] = uint32(i)<<16 | kindLiteral
	}
	litValues[256] = kindEnd
	base := uint32(3)
	for i := range uint32(28) {
		extra := uint32(0)
		if i >= 8 {
			extra = i/4 - 1
		}
		litValues[257+i] = base<<16 | extra
		base += 1 << extra
	}
	litValues[285] = 258 << 16
	litValues[286], litValues[287] = kindBad, kindBad
	base = 1
	for i := range uint32(30) {
		extra := uint32(0)
		if i >= 4 {
			extra = i/2 - 1
		}
		distValues[i] = base<<16 | extra
		base += 1 << extra
	}
	distValues[30], distValues[31] = kindBad, kindBad
	for i := range preValues {
		preValues[i] = uint32(i) << 16
	}

	var lens [maxLit]uint8
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		default:
			lens[i] = 8
		}
	}
	buildTable(fixedLit.entries[:], litBits, lens[:], litValues[:])
	var five [maxDist]uint8
	for i := range five {
		five[i] = 5
	}
	buildTable(fixedDist.entries[:], distBits, five[:], distValues[:])
}

// buildTable makes the table of a canonical Huffman code from the lengths of
// its codes. It refuses sets of codes that contradict themselves or leave bits
// without a meaning, save a single code of one bit and none at all, which
// packers write for blocks without matches.
func buildTable(table []uint32, first uint, lens []uint8, values []uint32) bool {
	var count [maxCode + 1]int
	for _, n := range lens {
		count[n]++
	}
	used := len(lens) - count[0]
	left := 1 << maxCode // codes of the greatest length that are still free
	for n := 1; n <= maxCode; n++ {
		left -= count[n] << (maxCode - n)
	}
	if left < 0 {
		return false
	}
	if left > 0 {
		if used > 1 || used == 1 && count[1] != 1 {
			return false
		}
		return buildSparse(table, first, lens, values)
	}

	// Symbols in the order of their codes.
	var sorted [maxLit]uint16
	var at [maxCode + 2]int
	for n := 1; n <= maxCode; n++ {
		at[n+1] = at[n] + count[n]
	}
	for sym, n := range lens {
		if n > 0 {
			sorted[at[n]] = uint16(sym)
			at[n]++
		}
	}

	// Short codes: the table is made for codes of one bit, then doubled for
	// each bit more, for a code that is shorter stands for both.
	code, i := uint(0), 0
	size := uint(1)
	n := 1
	for ; n <= int(first); n++ {
		copy(table[size:2*size], table[:size])
		size *= 2
		for range count[n] {
			table[code] = entry(values[sorted[i]], uint32(n))
			i++
			code = nextCode(code, uint(n))
		}
	}
	if i == used {
		return true
	}
	return buildLong(table, first, sorted[i:used], lens, values, code, n)
}

// buildSparse is for the sets of one code or none: other bits are an error.
func buildSparse(table []uint32, first uint, lens []uint8, values []uint32) bool {
	for i := range table[:1<<first] {
		table[i] = kindBad | 1
	}
	for sym, n := range lens {
		if n == 1 {
			for i := 0; i < 1<<first; i += 2 {
				table[i] = entry(values[sym], 1)
			}
		}
	}
	return true
}

// buildLong adds the codes that are longer than the first table's index, from
// length n on. Those with the same first bits get a second table together.
func buildLong(table []uint32, first uint, sorted []uint16, lens []uint8, values []uint32, code uint, n int) bool {
	next := uint(1) << first // where the next second table goes
	mask := next - 1
	var sub, subBits uint
	prefix := ^uint(0)
	var remain [maxCode + 1]int
	for _, sym := range sorted {
		remain[lens[sym]]++
	}
	for _, sym := range sorted {
		for n < int(lens[sym]) {
			n++
		}
		if code&mask != prefix {
			prefix = code & mask
			sub = next
			subBits = subTableBits(remain[:], uint(n), first)
			next += 1 << subBits
			if next > uint(len(table)) {
				return false
			}
			table[prefix] = uint32(sub)<<16 | kindSub | uint32(subBits)<<8 | uint32(first)
		}
		e := entry(values[sym], uint32(n))
		for k := code >> first; k < 1<<subBits; k += 1 << (uint(n) - first) {
			table[sub+k] = e
		}
		remain[n]--
		code = nextCode(code, uint(n))
	}
	return true
}

// subTableBits finds how many bits the codes of a second table have beyond the
// first: codes come shortest first, so it grows while longer ones are needed to
// fill it.
func subTableBits(remain []int, n, first uint) uint {
	width := n - first
	room := 1 << width
	for {
		room -= remain[first+width]
		if room <= 0 || first+width == maxCode {
			return width
		}
		width++
		room *= 2
	}
}

// entry adds a code's length to its value.
func entry(value, n uint32) uint32 { return value + n | n<<8 }

// nextCode is the code after one of n bits, both written lowest bit first, as
// they come in the stream: the highest zero bit becomes one, those above zero.
func nextCode(code, n uint) uint {
	free := ^code & (1<<n - 1)
	if free == 0 {
		return 0 // it was the last one
	}
	bit := uint(1) << (bits.Len(free) - 1)
	return code&(bit-1) | bit
}
