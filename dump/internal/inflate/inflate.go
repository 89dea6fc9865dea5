// Package inflate unpacks zlib streams (RFC 1950, RFC 1951) of which both ends
// are in memory and the unpacked length is known: the pages of a compressed
// dump. Without a stream's buffers, windows and calls between them it takes
// about half the time of a general unpacker.
package inflate

import (
	"encoding/binary"
	"errors"
)

// The ways in which a stream can be wrong.
var (
	ErrCorrupt  = errors.New("zlib: invalid data")
	ErrHeader   = errors.New("zlib: invalid header")
	ErrChecksum = errors.New("zlib: wrong checksum")
	ErrShort    = errors.New("zlib: the data unpack to less than expected")
	ErrLong     = errors.New("zlib: the data unpack to more than expected")
)

// Decoder keeps the tables of the block at hand. The zero value is ready; it
// serves one goroutine at a time.
type Decoder struct {
	lit  litTable
	dist distTable
	pre  preTable
	lens [maxLit + maxDist]uint8
}

// Decompress unpacks a zlib stream into dst, which it must fill exactly, and
// compares the checksum. Bytes of src behind the stream are passed over. What
// dst holds after an error is undefined.
func (d *Decoder) Decompress(dst, src []byte) error {
	if len(src) < 2 || src[0]&15 != 8 || src[0]>>4 > 7 || (int(src[0])<<8|int(src[1]))%31 != 0 || src[1]&0x20 != 0 {
		return ErrHeader
	}
	in := input{src: src, pos: 2}
	out := 0
	for last := false; !last; {
		in.fill()
		if in.n < 3 {
			return ErrCorrupt
		}
		head := in.take(3)
		last = head&1 != 0
		var err error
		switch head >> 1 {
		case 0:
			out, err = in.stored(dst, out)
		case 1:
			out, err = d.block(dst, out, &in, &fixedLit, &fixedDist)
		case 2:
			if err = d.readTables(&in); err == nil {
				out, err = d.block(dst, out, &in, &d.lit, &d.dist)
			}
		default:
			err = ErrCorrupt
		}
		if err != nil {
			return err
		}
	}
	if out != len(dst) {
		return ErrShort
	}
	in.alignByte()
	if len(src)-in.pos < 4 {
		return ErrCorrupt
	}
	if binary.BigEndian.Uint32(src[in.pos:]) != adler32(dst) {
		return ErrChecksum
	}
	return nil
}

// input is a source of bits, the lowest of each byte first.
type input struct {
	src []byte
	pos int    // of the next byte that is not in acc
	acc uint64 // bits read ahead
	n   uint   // how many of them there are
}

// fill makes at least 56 bits available, or all that are left.
func (in *input) fill() {
	if len(in.src)-in.pos >= 8 {
		in.acc |= binary.LittleEndian.Uint64(in.src[in.pos:]) << (in.n & 63)
		in.pos += int((63 - in.n) >> 3)
		in.n |= 56
		return
	}
	for in.n < 56 && in.pos < len(in.src) {
		in.acc |= uint64(in.src[in.pos]) << in.n
		in.pos++
		in.n += 8
	}
}

// take removes n bits, which must be there.
func (in *input) take(n uint) uint64 {
	v := in.acc & (1<<n - 1)
	in.acc >>= n
	in.n -= n
	return v
}

// alignByte gives back the whole bytes that were read ahead, and drops the
// bits before them.
func (in *input) alignByte() {
	in.pos -= int(in.n / 8)
	in.acc, in.n = 0, 0
}

// stored copies a block that is not packed.
func (in *input) stored(dst []byte, out int) (int, error) {
	in.alignByte()
	if len(in.src)-in.pos < 4 {
		return out, ErrCorrupt
	}
	n := int(binary.LittleEndian.Uint16(in.src[in.pos:]))
	if n^0xffff != int(binary.LittleEndian.Uint16(in.src[in.pos+2:])) {
		return out, ErrCorrupt
	}
	in.pos += 4
	switch {
	case len(in.src)-in.pos < n:
		return out, ErrCorrupt
	case len(dst)-out < n:
		return out, ErrLong
	}
	copy(dst[out:], in.src[in.pos:in.pos+n])
	in.pos += n
	return out + n, nil
}

// fastOut is how much room the fast loop wants in dst: the longest match, and
// what copies of whole words may write behind it. fastIn is the same for src.
const (
	fastOut = 258 + 16
	fastIn  = 8 * 3
)

// block unpacks a block of codes.
func (d *Decoder) block(dst []byte, out int, in *input, lit *litTable, dist *distTable) (int, error) {
	for {
		if len(dst)-out >= fastOut && len(in.src)-in.pos >= fastIn {
			var end bool
			var err error
			if out, end, err = fastBlock(dst, out, in, lit, dist); end || err != nil {
				return out, err
			}
		}
		// Near either end: one code at a time, each step checked.
		in.fill()
		e := lit.entries[in.acc&litMask]
		if e&kindSub != 0 {
			e = lit.entries[(uint64(e>>16)+in.acc>>litBits&(1<<(e>>8&15)-1))&(litSize-1)]
		}
		if used := uint(e & 63); used > in.n || used == 0 || e&kindBad != 0 {
			return out, ErrCorrupt
		}
		if e&kindLiteral != 0 {
			if out == len(dst) {
				return out, ErrLong
			}
			in.take(uint(e & 63))
			dst[out] = byte(e >> 16)
			out++
			continue
		}
		if e&kindEnd != 0 {
			in.take(uint(e & 63))
			return out, nil
		}
		length := int(e>>16) + extra(in.acc, e)
		in.take(uint(e & 63))
		in.fill()
		e = dist.entries[in.acc&distMask]
		if e&kindSub != 0 {
			e = dist.entries[(uint64(e>>16)+in.acc>>distBits&(1<<(e>>8&15)-1))&(distSize-1)]
		}
		if used := uint(e & 63); used > in.n || used == 0 || e&kindBad != 0 {
			return out, ErrCorrupt
		}
		back := int(e>>16) + extra(in.acc, e)
		in.take(uint(e & 63))
		if back > out {
			return out, ErrCorrupt
		}
		if length > len(dst)-out {
			return out, ErrLong
		}
		for i := range length {
			dst[out+i] = dst[out+i-back]
		}
		out += length
	}
}

// extra reads the bits that follow a code and add to its value.
func extra(acc uint64, e uint32) int {
	return int(acc & (1<<(e&63) - 1) >> (e >> 8 & 15))
}

// fastBlock unpacks codes while both buffers have room for the longest step,
// so that no single one needs to be checked. It tells whether the block ended. It is
// one long function so that its positions and bits stay in registers.
func fastBlock(dst []byte, out int, in *input, lit *litTable, dist *distTable) (int, bool, error) {
	src, pos, acc, n := in.src, in.pos, in.acc, in.n
	lastOut, lastIn := len(dst)-fastOut, len(src)-fastIn
	for out <= lastOut && pos <= lastIn {
		acc |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56
		e := lit.entries[acc&litMask]
		// Three literals of up to litBits each, and what follows them, fit
		// in 56 bits.
		if e&kindLiteral != 0 {
			acc >>= e & 63
			n -= uint(e & 63)
			dst[out] = byte(e >> 16)
			out++
			e = lit.entries[acc&litMask]
			if e&kindLiteral != 0 {
				acc >>= e & 63
				n -= uint(e & 63)
				dst[out] = byte(e >> 16)
				out++
				e = lit.entries[acc&litMask]
				if e&kindLiteral != 0 {
					acc >>= e & 63
					n -= uint(e & 63)
					dst[out] = byte(e >> 16)
					out++
					continue
				}
			}
			acc |= binary.LittleEndian.Uint64(src[pos:]) << (n & 63)
			pos += int((63 - n) >> 3)
			n |= 56
		}
		if e&kindSub != 0 {
			e = lit.entries[(uint64(e>>16)+acc>>litBits&(1<<(e>>8&15)-1))&(litSize-1)]
			if e&kindLiteral != 0 {
				acc >>= e & 63
				n -= uint(e & 63)
				dst[out] = byte(e >> 16)
				out++
				continue
			}
		}
		if e&(kindEnd|kindBad) != 0 {
			acc >>= e & 63
			n -= uint(e & 63)
			if e&kindBad != 0 {
				return out, false, ErrCorrupt
			}
			in.pos, in.acc, in.n = pos, acc, n
			return out, true, nil
		}
		length := int(e>>16) + extra(acc, e)
		acc >>= e & 63
		n -= uint(e & 63)

		// A length takes 20 bits at most and a distance 28: both fit.
		e = dist.entries[acc&distMask]
		if e&kindSub != 0 {
			e = dist.entries[(uint64(e>>16)+acc>>distBits&(1<<(e>>8&15)-1))&(distSize-1)]
		}
		back := int(e>>16) + extra(acc, e)
		acc >>= e & 63
		n -= uint(e & 63)
		if e&kindBad != 0 || back > out {
			return out, false, ErrCorrupt
		}
		copyMatch(dst, out, back, length)
		out += length
	}
	in.pos, in.acc, in.n = pos, acc, n
	return out, false, nil
}

// copyMatch repeats length bytes from back bytes before out. It may write up to
// 15 bytes more.
func copyMatch(dst []byte, out, back, length int) {
	from := out - back
	if back >= 8 {
		for end := out + length; out < end; out += 8 {
			binary.LittleEndian.PutUint64(dst[out:], binary.LittleEndian.Uint64(dst[from:]))
			from += 8
		}
		return
	}
	if back == 1 {
		v := uint64(dst[from]) * 0x0101010101010101
		for end := out + length; out < end; out += 8 {
			binary.LittleEndian.PutUint64(dst[out:], v)
		}
		return
	}
	for end := out + length; out < end; out++ {
		dst[out] = dst[from]
		from++
	}
}

// readTables reads the code lengths of a block and makes its tables.
func (d *Decoder) readTables(in *input) error {
	in.fill()
	if in.n < 14 {
		return ErrCorrupt
	}
	nLit, nDist, nPre := int(in.take(5))+257, int(in.take(5))+1, int(in.take(4))+4
	if nLit > maxLit-2 || nDist > maxDist-2 {
		return ErrCorrupt
	}
	var pre [19]uint8
	for i := range nPre {
		if in.n < 3 {
			in.fill()
		}
		if in.n < 3 {
			return ErrCorrupt
		}
		pre[preOrder[i]] = uint8(in.take(3))
	}
	if !buildTable(d.pre.entries[:], preBits, pre[:], preValues[:]) {
		return ErrCorrupt
	}
	if !d.readLengths(in, nLit+nDist) {
		return ErrCorrupt
	}
	if d.lens[256] == 0 { // a block without an end
		return ErrCorrupt
	}
	if !buildTable(d.lit.entries[:], litBits, d.lens[:nLit], litValues[:]) ||
		!buildTable(d.dist.entries[:], distBits, d.lens[nLit:nLit+nDist], distValues[:]) {
		return ErrCorrupt
	}
	return nil
}

// readLengths reads the lengths of that many codes, which are packed themselves.
func (d *Decoder) readLengths(in *input, total int) bool {
	for i := 0; i < total; {
		if in.n < preBits+7 {
			in.fill()
		}
		e := d.pre.entries[in.acc&(1<<preBits-1)]
		used := uint(e & 63)
		sym := e >> 16
		if sym < 16 {
			if e&kindBad != 0 || used > in.n {
				return false
			}
			in.acc >>= used & 63
			in.n -= used
			d.lens[i] = uint8(sym)
			i++
			continue
		}
		// The longest code and the longest count of repeats fit in what fill
		// has made available.
		count := &repeats[sym-16]
		if used+count.bits > in.n || sym == 16 && i == 0 {
			return false
		}
		in.take(used)
		repeat := count.base + int(in.take(count.bits))
		if repeat > total-i {
			return false
		}
		run := d.lens[i : i+repeat]
		if sym == 16 {
			for k, v := 0, d.lens[i-1]; k < len(run); k++ {
				run[k] = v
			}
		} else {
			clear(run)
		}
		i += repeat
	}
	return true
}

// repeats are the symbols 16, 17 and 18 of the code length codes.
var repeats = [3]struct {
	bits uint
	base int
}{{2, 3}, {3, 3}, {7, 11}}

// preOrder is the order in which the lengths of the code length codes come.
var preOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
