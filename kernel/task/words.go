package task

import (
	"encoding/binary"

	"github.com/kmortem/mortem/kernel"
)

// words splits bytes into 64-bit numbers.
func words(b []byte) []uint64 {
	list := make([]uint64, len(b)/8)
	for i := range list {
		list[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return list
}

// Members that a kernel may lack read as 0.

func u64(f kernel.U64, b []byte) uint64 {
	if !f.Has() {
		return 0
	}
	return f.Get(b)
}

func u32(f kernel.U32, b []byte) uint32 {
	if !f.Has() {
		return 0
	}
	return f.Get(b)
}

func i32(f kernel.I32, b []byte) int32 {
	if !f.Has() {
		return 0
	}
	return f.Get(b)
}

func number(f kernel.Uint, b []byte) uint64 {
	if !f.Has() {
		return 0
	}
	return f.Get(b)
}
