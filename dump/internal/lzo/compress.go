package lzo

import "encoding/binary"

// Limits of the instructions: the longest distance of each kind of match.
const (
	near = 2048  // matches of up to 8 bytes in two bytes
	mid  = 16384 // in three bytes
	far  = 49151
)

const hashBits = 13

// Compress packs src as LZO1X. It is made for writing test dumps: greedy, with
// one candidate for each place.
func Compress(src []byte) []byte {
	c := &compressor{src: src}
	var table [1 << hashBits]int32 // place + 1 of the last four bytes with that hash
	for i := 0; i+4 <= len(src); {
		four := binary.LittleEndian.Uint32(src[i:])
		slot := &table[four*0x9e3779b1>>(32-hashBits)]
		at := int(*slot) - 1
		*slot = int32(i) + 1
		if at < 0 || i-at > far || binary.LittleEndian.Uint32(src[at:]) != four {
			i++
			continue
		}
		n := 4
		for i+n < len(src) && src[at+n] == src[i+n] {
			n++
		}
		c.literals(i)
		c.match(i-at, n)
		i += n
		c.done = i
	}
	c.literals(len(src))
	return append(c.out, 17, 0, 0)
}

type compressor struct {
	src  []byte
	out  []byte
	done int // bytes of src that are packed
}

// literals packs what no match has covered before end.
func (c *compressor) literals(end int) {
	lit := c.src[c.done:end]
	n := len(lit)
	switch {
	case n == 0:
		return
	case len(c.out) == 0 && n <= 238:
		c.out = append(c.out, byte(n+17))
	case len(c.out) > 0 && n <= 3:
		c.out[len(c.out)-2] |= byte(n)
	case n <= 18:
		c.out = append(c.out, byte(n-3))
	default:
		c.out = append(c.out, 0)
		c.length(n - 18)
	}
	c.out = append(c.out, lit...)
	c.done = end
}

// match packs a match of n >= 4 bytes.
func (c *compressor) match(dist, n int) {
	switch {
	case dist <= near && n <= 8:
		d := dist - 1
		c.out = append(c.out, byte((n-1)<<5|d&7<<2), byte(d>>3))
		return
	case dist <= mid:
		c.head(32, 31, n-2)
		dist--
	default:
		dist -= mid
		c.head(16|byte(dist>>11&8), 7, n-2)
	}
	c.out = append(c.out, byte(dist<<2), byte(dist>>6))
}

// head writes an instruction whose length has room up to most.
func (c *compressor) head(op byte, most, n int) {
	if n <= most {
		c.out = append(c.out, op|byte(n))
		return
	}
	c.out = append(c.out, op)
	c.length(n - most)
}

// length writes the rest of a length that did not fit its instruction.
func (c *compressor) length(n int) {
	for ; n > 255; n -= 255 {
		c.out = append(c.out, 0)
	}
	c.out = append(c.out, byte(n))
}
