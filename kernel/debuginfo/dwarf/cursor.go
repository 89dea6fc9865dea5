package dwarf

import (
	"bytes"
	"encoding/binary"
)

// cursor reads the primitive encodings of DWARF (version 5, section 7) from a
// section. Reading past the end sets bad, moves to the end and gives zeros, so
// that loops which go on until the end always terminate.
type cursor struct {
	data []byte
	off  int // always 0 ≤ off ≤ len(data)
	bad  bool
}

func (c *cursor) fail() {
	c.bad = true
	c.off = len(c.data)
}

func (c *cursor) more() bool { return c.off < len(c.data) }

func (c *cursor) u8() uint8 {
	if c.off >= len(c.data) {
		c.fail()
		return 0
	}
	v := c.data[c.off]
	c.off++
	return v
}

func (c *cursor) u16() uint16 {
	if len(c.data)-c.off < 2 {
		c.fail()
		return 0
	}
	v := binary.LittleEndian.Uint16(c.data[c.off:])
	c.off += 2
	return v
}

func (c *cursor) u32() uint32 {
	if len(c.data)-c.off < 4 {
		c.fail()
		return 0
	}
	v := binary.LittleEndian.Uint32(c.data[c.off:])
	c.off += 4
	return v
}

func (c *cursor) u64() uint64 {
	if len(c.data)-c.off < 8 {
		c.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(c.data[c.off:])
	c.off += 8
	return v
}

// uint reads an unsigned number of 1, 2, 3, 4 or 8 bytes.
func (c *cursor) uint(size int) uint64 {
	switch size {
	case 1:
		return uint64(c.u8())
	case 2:
		return uint64(c.u16())
	case 3:
		low := c.u16()
		return uint64(low) | uint64(c.u8())<<16
	case 4:
		return uint64(c.u32())
	case 8:
		return c.u64()
	}
	c.fail()
	return 0
}

func (c *cursor) skip(n uint64) {
	if n > uint64(len(c.data)-c.off) {
		c.fail()
		return
	}
	c.off += int(n)
}

func (c *cursor) bytes(n uint64) []byte {
	start := c.off
	c.skip(n)
	if c.bad {
		return nil
	}
	return c.data[start:c.off:c.off]
}

func (c *cursor) uleb() uint64 {
	if c.off < len(c.data) {
		if b := c.data[c.off]; b < 0x80 {
			c.off++
			return uint64(b)
		}
	}
	return c.longUleb()
}

func (c *cursor) longUleb() uint64 {
	var v uint64
	for shift := uint(0); c.off < len(c.data); shift += 7 {
		b := c.data[c.off]
		c.off++
		if shift < 64 {
			v |= uint64(b&0x7f) << shift
		}
		if b < 0x80 {
			return v
		}
	}
	c.fail()
	return 0
}

func (c *cursor) sleb() int64 {
	var v int64
	for shift := uint(0); c.off < len(c.data); {
		b := c.data[c.off]
		c.off++
		if shift < 64 {
			v |= int64(b&0x7f) << shift
		}
		shift += 7
		if b < 0x80 {
			if b&0x40 != 0 && shift < 64 {
				v |= -1 << shift
			}
			return v
		}
	}
	c.fail()
	return 0
}

func (c *cursor) skipLeb() {
	for c.off < len(c.data) {
		b := c.data[c.off]
		c.off++
		if b < 0x80 {
			return
		}
	}
	c.fail()
}

func (c *cursor) skipString() {
	n := bytes.IndexByte(c.data[c.off:], 0)
	if n < 0 {
		c.fail()
		return
	}
	c.off += n + 1
}
