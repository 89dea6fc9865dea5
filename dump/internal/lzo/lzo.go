// Package lzo unpacks LZO1X, the codec of makedumpfile's -l. The bit stream is
// the one that Linux Documentation/staging/lzo.rst describes; the run-length
// extension of the kernel's lzo-rle is not part of it, for makedumpfile does
// not use it.
package lzo

import (
	"encoding/binary"
	"errors"
)

// ErrCorrupt says that the input is no LZO1X stream, or that what it unpacks
// to does not fit the output.
var ErrCorrupt = errors.New("lzo: corrupt input")

// slack is how far the unpacker may read or write past the end of a copy,
// within the bounds of its buffers, to move many bytes at once.
const slack = 16

// Decompress unpacks src into dst and returns the number of bytes written. It
// never reads or writes outside of its arguments; what it leaves in dst behind
// the returned length is undefined. The format carries no checksum: damaged
// input can unpack without an error.
//
// It is one long function because BenchmarkDecompress took a tenth longer when the first
// run, or the rarer matches, were in functions of their own.
func Decompress(dst, src []byte) (int, error) {
	var (
		in, out int
		state   int // literals that the last instruction copied, 4 for "a run of them"
	)
	if len(src) == 0 {
		return 0, ErrCorrupt
	}
	// The first byte may be a run of literals of a form of its own.
	if b := int(src[0]); b > 17 {
		n := b - 17
		in = 1
		if len(src)-in < n || len(dst)-out < n {
			return 0, ErrCorrupt
		}
		copy(dst, src[in:in+n])
		in += n
		out += n
		state = min(n, 4)
	}
	for {
		if in >= len(src) {
			return out, ErrCorrupt
		}
		b := int(src[in])
		in++
		var dist, n, trail int
		switch {
		case b >= 64: // a short match within 2 KiB
			if in >= len(src) {
				return out, ErrCorrupt
			}
			n = b>>5 + 1
			dist = int(src[in])<<3 + b>>2&7 + 1
			in++
			trail = b & 3

		case b >= 32: // a match within 16 KiB
			n = b & 31
			if n == 0 {
				if n, in = longLength(src, in, 31); in < 0 {
					return out, ErrCorrupt
				}
			}
			n += 2
			if len(src)-in < 2 {
				return out, ErrCorrupt
			}
			d := int(binary.LittleEndian.Uint16(src[in:]))
			in += 2
			dist = d>>2 + 1
			trail = d & 3

		case b >= 16: // a match 16 to 48 KiB back, or the end
			n = b & 7
			if n == 0 {
				if n, in = longLength(src, in, 7); in < 0 {
					return out, ErrCorrupt
				}
			}
			n += 2
			if len(src)-in < 2 {
				return out, ErrCorrupt
			}
			d := int(binary.LittleEndian.Uint16(src[in:]))
			in += 2
			dist = b&8<<11 + d>>2
			if dist == 0 {
				// The end marker is a match of length 3 at distance 16384.
				if n != 3 || in != len(src) {
					return out, ErrCorrupt
				}
				return out, nil
			}
			dist += 16384
			trail = d & 3

		case state == 0: // a run of literals
			n = b
			if n == 0 {
				if n, in = longLength(src, in, 15); in < 0 {
					return out, ErrCorrupt
				}
			}
			n += 3
			if len(src)-in < n || len(dst)-out < n {
				return out, ErrCorrupt
			}
			if n <= slack && len(src)-in >= slack && len(dst)-out >= slack {
				copy16(dst[out:], src[in:])
			} else {
				copy(dst[out:out+n], src[in:in+n])
			}
			in += n
			out += n
			state = 4
			continue

		default: // a match of 2 or 3 bytes, by what went before
			if in >= len(src) {
				return out, ErrCorrupt
			}
			n = 2
			dist = int(src[in])<<2 + b>>2 + 1
			if state == 4 {
				n = 3
				dist += 2048
			}
			in++
			trail = b & 3
		}

		if dist > out || len(dst)-out < n {
			return out, ErrCorrupt
		}
		copyMatch(dst, out, dist, n)
		out += n

		// Up to three literals follow every match.
		state = trail
		if trail != 0 {
			if len(src)-in < 4 || len(dst)-out < 4 {
				if len(src)-in < trail || len(dst)-out < trail {
					return out, ErrCorrupt
				}
				copy(dst[out:out+trail], src[in:in+trail])
			} else {
				binary.LittleEndian.PutUint32(dst[out:], binary.LittleEndian.Uint32(src[in:]))
			}
			in += trail
			out += trail
		}
	}
}

// longLength reads a length that did not fit its instruction: each zero byte
// adds 255 to base, the first other byte adds itself. The new position is -1
// if the input ends before.
func longLength(src []byte, in, base int) (n, next int) {
	n = base
	for in < len(src) {
		b := src[in]
		in++
		if b != 0 {
			return n + int(b), in
		}
		n += 255
	}
	return 0, -1
}

// copyMatch copies n bytes within dst from dist bytes before out, where source
// and target may overlap: then the bytes between them repeat.
func copyMatch(dst []byte, out, dist, n int) {
	from := out - dist
	switch {
	case dist >= slack && n <= 2*slack && len(dst)-out >= 2*slack:
		copy16(dst[out:], dst[from:])
		if n > slack {
			copy16(dst[out+slack:], dst[from+slack:])
		}
	case dist >= n:
		copy(dst[out:out+n], dst[from:out])
	case dist >= 8 && len(dst)-out >= n+8:
		for i := 0; i < n; i += 8 {
			binary.LittleEndian.PutUint64(dst[out+i:], binary.LittleEndian.Uint64(dst[from+i:]))
		}
	case dist == 1:
		b := dst[from]
		run := dst[out : out+n]
		for i := range run {
			run[i] = b
		}
	default:
		// Each copy doubles the stretch that the next one can take.
		for n > 0 {
			c := copy(dst[out:out+n], dst[from:out])
			out += c
			n -= c
		}
	}
}

// copy16 copies sixteen bytes.
func copy16(dst, src []byte) {
	a := binary.LittleEndian.Uint64(src)
	b := binary.LittleEndian.Uint64(src[8:])
	binary.LittleEndian.PutUint64(dst, a)
	binary.LittleEndian.PutUint64(dst[8:], b)
}
