package unwind

import (
	"encoding/binary"

	"github.com/kmortem/mortem/kernel"
)

// words reads single words of memory from views of the few pages that a stack
// lies in. The zero value of pages is empty.
type words struct {
	k     reader
	pages [8]page
	next  int
	buf   [8]byte
}

// reader is what words needs of a kernel's memory.
type reader interface {
	View(virt uint64, n int) ([]byte, error)
	Read(buf []byte, virt uint64) (int, error)
}

var _ reader = (*kernel.Kernel)(nil)

type page struct {
	addr uint64
	data []byte // nil where it cannot be viewed as a whole
}

func (w *words) reset(k reader) {
	*w = words{k: k}
}

// at reads the 8 bytes at a virtual address.
func (w *words) at(addr uint64) (uint64, error) {
	base, off := addr&^(pageSize-1), addr&(pageSize-1)
	if off <= pageSize-8 {
		if p := w.page(base); p != nil {
			return binary.LittleEndian.Uint64(p[off:]), nil
		}
	}
	if _, err := w.k.Read(w.buf[:], addr); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(w.buf[:]), nil
}

// read fills b with the memory at a virtual address.
func (w *words) read(b []byte, addr uint64) error {
	base, off := addr&^(pageSize-1), addr&(pageSize-1)
	if off+uint64(len(b)) <= pageSize {
		if p := w.page(base); p != nil {
			copy(b, p[off:])
			return nil
		}
	}
	_, err := w.k.Read(b, addr)
	return err
}

func (w *words) page(base uint64) []byte {
	for i := range w.pages {
		if w.pages[i].addr == base && base != 0 {
			return w.pages[i].data
		}
	}
	data, err := w.k.View(base, pageSize)
	if err != nil {
		data = nil
	}
	w.pages[w.next] = page{base, data}
	w.next = (w.next + 1) % len(w.pages)
	return data
}
