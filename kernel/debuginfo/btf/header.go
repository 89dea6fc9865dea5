package btf

import (
	"encoding/binary"
	"fmt"
)

// header is where the parts of a piece of BTF are.
type header struct {
	types   []byte
	strings []byte
	layout  []byte // sizes of records by kind, since 7.1
}

const (
	magic      = 0xeb9f
	headerSize = 24 // struct btf_header until 7.0
)

// readHeader divides the bytes by struct btf_header, whose offsets count from
// its end.
func readHeader(raw []byte) (h header, err error) {
	if len(raw) < headerSize || binary.LittleEndian.Uint16(raw) != magic {
		return h, fmt.Errorf("%w: it does not begin with its magic number", ErrNoBTF)
	}
	if raw[2] != 1 {
		return h, fmt.Errorf("%w of a known version, but of version %d", ErrNoBTF, raw[2])
	}
	size := binary.LittleEndian.Uint32(raw[4:])
	if size < headerSize || uint64(size) > uint64(len(raw)) {
		return h, damaged("its header claims %d bytes of %d", size, len(raw))
	}
	part := func(at uint32) []byte {
		if at+8 > size {
			return nil
		}
		off, n := uint64(binary.LittleEndian.Uint32(raw[at:])), uint64(binary.LittleEndian.Uint32(raw[at+4:]))
		if all := uint64(len(raw)) - uint64(size); off > all || n > all-off {
			err = damaged("a part at %#x with %#x bytes is outside of its %#x", off, n, all)
			return nil
		}
		return raw[uint64(size)+off:][:n:n]
	}
	h = header{types: part(8), strings: part(16), layout: part(24)}
	return h, err
}
