package paging

import (
	"encoding/binary"
	"sync"
)

// piece is the number of bytes in which tables are read and kept: no table of 4 KiB
// pages is larger, and larger tables consist of such pieces, whatever the unit is
// in which the dump has memory.
const piece = 4096

// maxPinned bounds the memory spent on page tables to 128 MiB. Tables beyond
// that are read through the page cache like all other memory.
const maxPinned = 128 << 20 / piece

// tables reads the entries of page tables, and keeps the tables it has seen, so
// that they do not compete with data for the page cache. It is safe for use by
// many goroutines.
type tables struct {
	mem Memory

	mu     sync.RWMutex
	pieces map[uint64][]byte
}

// entry reads the 8 bytes of the entry at a physical address.
func (t *tables) entry(at uint64) (uint64, error) {
	start := at &^ (piece - 1)
	t.mu.RLock()
	b, ok := t.pieces[start]
	t.mu.RUnlock()
	if !ok {
		var err error
		if b, err = t.mem.ViewPhys(start, piece); err != nil {
			return 0, err
		}
		t.mu.Lock()
		if t.pieces == nil {
			t.pieces = make(map[uint64][]byte)
		}
		if len(t.pieces) < maxPinned {
			t.pieces[start] = b
		}
		t.mu.Unlock()
	}
	return binary.LittleEndian.Uint64(b[at-start:]), nil
}
