package dumpwriter

import "encoding/binary"

// structure builds a C structure, member by member.
type structure struct {
	order binary.ByteOrder
	bits  int
	align int // of 64-bit members, in bytes
	data  []byte
}

func (c *Config) structure() *structure {
	s := &structure{order: c.Order, bits: c.Bits, align: 8}
	if c.Bits == 32 && c.Uts.Machine[0] == 'i' {
		s.align = 4 // the i386 ABI
	}
	return s
}

func (s *structure) pad(align int) {
	for len(s.data)%align != 0 {
		s.data = append(s.data, 0)
	}
}

func (s *structure) u16(v uint16) {
	s.data = append(s.data, 0, 0)
	s.order.PutUint16(s.data[len(s.data)-2:], v)
}

func (s *structure) u32(v uint32) { s.data = appendU32(s.data, s.order, v) }

func (s *structure) u64(v uint64) {
	s.pad(s.align)
	s.data = append(s.data, 0, 0, 0, 0, 0, 0, 0, 0)
	s.order.PutUint64(s.data[len(s.data)-8:], v)
}

func appendU32(data []byte, order binary.ByteOrder, v uint32) []byte {
	data = append(data, 0, 0, 0, 0)
	order.PutUint32(data[len(data)-4:], v)
	return data
}

func (s *structure) long(v uint64) {
	if s.bits == 32 {
		s.u32(uint32(v))
		return
	}
	s.u64(v)
}

// text writes a string into an array of n characters.
func (s *structure) text(v string, n int) {
	at := len(s.data)
	s.data = append(s.data, make([]byte, n)...)
	copy(s.data[at:at+n-1], v)
}
