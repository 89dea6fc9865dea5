package dump

import (
	"encoding/binary"
	"math/bits"
)

// bitmap is a stretch of a page bitmap with an index that gives the number of
// set bits before any place in constant time. A bit stands for a page frame
// number (PFN): bit n%8 of byte n/8, whatever the byte order of the machine.
//
// The index is two levels of sums, as in Jacobson's rank structure: a 64-bit
// one for 2^16 bits and a 16-bit one for 2^10 bits. That is 1.66 % of the
// bitmap, and at most 16 words are counted for an answer.
type bitmap struct {
	bits  []byte   // mapped where the file is; whole 8-byte words
	base  uint64   // PFN of the first bit
	start uint64   // first PFN that counts, less than 64 above base
	end   uint64   // one past the last PFN that counts
	skip  uint64   // set bits in [base, start)
	super []uint64 // set bits since base before each 2^16 bits
	block []uint16 // set bits since the last super before each 2^10 bits
	total uint64   // set bits in [start, end)
}

const (
	superShift = 16
	blockShift = 10
	blockWords = 1 << (blockShift - 6)
)

// newBitmap indexes the bits for the PFNs [start, end) of a bitmap whose first
// bit is PFN 0. The bitmap must be long enough, in whole words.
func newBitmap(whole []byte, start, end uint64) *bitmap {
	b := &bitmap{base: start &^ 63, start: start, end: max(start, end)}
	b.bits = whole[b.base/8 : (b.end+63)/64*8]
	words := len(b.bits) / 8
	blocks := (words + blockWords - 1) / blockWords
	b.block = make([]uint16, blocks)
	b.super = make([]uint64, (blocks>>(superShift-blockShift))+1)

	var count, base uint64
	for i := range blocks {
		if i&(1<<(superShift-blockShift)-1) == 0 {
			b.super[i>>(superShift-blockShift)] = count
			base = count
		}
		b.block[i] = uint16(count - base)
		for w := i * blockWords; w < min((i+1)*blockWords, words); w++ {
			count += uint64(bits.OnesCount64(b.word(w)))
		}
	}
	b.skip = b.rawRank(start)
	b.total = b.rawRank(b.end) - b.skip
	return b
}

func (b *bitmap) word(i int) uint64 {
	return binary.LittleEndian.Uint64(b.bits[i*8:])
}

// has tells whether the bit of a PFN is set.
func (b *bitmap) has(pfn uint64) bool {
	if pfn < b.start || pfn >= b.end {
		return false
	}
	i := pfn - b.base
	return b.bits[i/8]>>(i%8)&1 != 0
}

// hasBit tells whether a bit of a bitmap that may be too short for it is set.
func hasBit(bits []byte, n uint64) bool {
	return n/8 < uint64(len(bits)) && bits[n/8]>>(n%8)&1 != 0
}

// rank is the number of set bits in [start, pfn), for start <= pfn <= end.
func (b *bitmap) rank(pfn uint64) uint64 { return b.rawRank(pfn) - b.skip }

func (b *bitmap) rawRank(pfn uint64) uint64 {
	i := pfn - b.base
	if i>>6 >= uint64(len(b.bits)/8) && i&63 == 0 && i>>blockShift >= uint64(len(b.block)) {
		// One past the last bit, where no block begins any more.
		return b.lastSums()
	}
	n := b.super[i>>superShift] + uint64(b.block[i>>blockShift])
	words := b.bits[i>>blockShift*blockWords*8 : i>>6*8]
	for len(words) >= 8 {
		n += uint64(bits.OnesCount64(binary.LittleEndian.Uint64(words)))
		words = words[8:]
	}
	if i&63 != 0 {
		n += uint64(bits.OnesCount64(b.word(int(i>>6)) << (64 - i&63)))
	}
	return n
}

// lastSums is the number of all set bits since base.
func (b *bitmap) lastSums() uint64 {
	last := len(b.block) - 1
	if last < 0 {
		return 0
	}
	n := b.super[last>>(superShift-blockShift)] + uint64(b.block[last])
	for w := last * blockWords; w < len(b.bits)/8; w++ {
		n += uint64(bits.OnesCount64(b.word(w)))
	}
	return n
}

// next returns the first PFN at or after pfn whose bit is set, or end.
func (b *bitmap) next(pfn uint64) uint64 { return b.scan(pfn, 0) }

// nextClear returns the first PFN at or after pfn whose bit is clear, or end.
func (b *bitmap) nextClear(pfn uint64) uint64 { return b.scan(pfn, ^uint64(0)) }

// scan finds the first set bit after turning all words round with flip.
func (b *bitmap) scan(pfn uint64, flip uint64) uint64 {
	pfn = max(pfn, b.start)
	for pfn < b.end {
		i := pfn - b.base
		if w := (b.word(int(i>>6)) ^ flip) >> (i & 63); w != 0 {
			return min(pfn+uint64(bits.TrailingZeros64(w)), b.end)
		}
		pfn = (pfn | 63) + 1
		if pfn == 0 {
			break
		}
	}
	return b.end
}
