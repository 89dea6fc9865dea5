package inflate

import "encoding/binary"

const adlerMod = 65521

// adler32 is the checksum of RFC 1950: the sum of the bytes, and the sum of
// those sums. It adds up eight bytes at a time: four lanes of 16 bits hold the
// even ones, four the odd ones.
func adler32(data []byte) uint32 {
	a, b := uint64(1), uint64(0)
	// Within 128 bytes no lane overflows: 255 * (1 + 2 + … + 16) < 2^16.
	const block = 128
	const even = 0x00ff00ff00ff00ff
	for len(data) >= block {
		var sumE, sumO, runE, runO uint64
		for p := data[:block]; len(p) >= 8; p = p[8:] {
			w := binary.LittleEndian.Uint64(p)
			sumE += w & even
			sumO += w >> 8 & even
			runE += sumE
			runO += sumO
		}
		// A byte at place j of its word counts 8*(words from it on) - j times
		// in b, and each byte before the block 128 times.
		b += block*a + 8*(lanes(runE)+lanes(runO)) - weighted(sumE, 0) - weighted(sumO, 1)
		a += lanes(sumE) + lanes(sumO)
		a %= adlerMod
		b %= adlerMod
		data = data[block:]
	}
	for _, v := range data {
		a += uint64(v)
		b += a
	}
	return uint32(b%adlerMod<<16 | a%adlerMod)
}

// lanes adds up four lanes of 16 bits.
func lanes(v uint64) uint64 {
	return v&0xffff + v>>16&0xffff + v>>32&0xffff + v>>48
}

// weighted adds up the lanes, each times the place of its byte in the word:
// first, first+2, first+4 and first+6.
func weighted(v uint64, first uint64) uint64 {
	return first*(v&0xffff) + (first+2)*(v>>16&0xffff) + (first+4)*(v>>32&0xffff) + (first+6)*(v>>48)
}
