package task

import "encoding/binary"

// words splits bytes into 64-bit numbers.
func words(b []byte) []uint64 {
	list := make([]uint64, len(b)/8)
	for i := range list {
		list[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return list
}
