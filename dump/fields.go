package dump

import (
	"bytes"
	"encoding/binary"
)

// fields reads the members of a C structure out of its bytes. What lies behind
// the end reads as zero: callers check the length of what must be there.
type fields struct {
	data  []byte
	order binary.ByteOrder
	is64  bool // whether long is 64 bits wide
}

func (f fields) u16(off int) uint16 {
	if off < 0 || off+2 > len(f.data) {
		return 0
	}
	return f.order.Uint16(f.data[off:])
}

func (f fields) u32(off int) uint32 {
	if off < 0 || off+4 > len(f.data) {
		return 0
	}
	return f.order.Uint32(f.data[off:])
}

func (f fields) u64(off int) uint64 {
	if off < 0 || off+8 > len(f.data) {
		return 0
	}
	return f.order.Uint64(f.data[off:])
}

// long reads an unsigned long.
func (f fields) long(off int) uint64 {
	if f.is64 {
		return f.u64(off)
	}
	return uint64(f.u32(off))
}

// text reads a NUL-terminated string in an array of n characters.
func (f fields) text(off, n int) string {
	if off < 0 || off >= len(f.data) {
		return ""
	}
	s := f.data[off:min(off+n, len(f.data))]
	if i := bytes.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	return string(s)
}
