package sweep

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/slab"
)

// Slab is a slab with its memory. It is valid during Consumer.Visit only.
type Slab struct {
	slab.Slab
	// Mem is the slab's memory. Pages that could not be read are zeros in it: ask
	// Bytes for an object.
	Mem []byte
	// Doubt says why some objects may be taken for live ones that are free: the
	// slab's list of free objects is damaged, or in a page that could not be read.
	Doubt error

	worker  *worker
	missing []bool // by page, nil where none is
	prefix  int    // bytes of Mem before the first page that is missing
}

// Live tells whether the i-th object is in use.
func (s *Slab) Live(i int) bool { return !s.worker.decoder.IsFree(i) }

// Bytes is the memory of the i-th object, nil where a page of it is missing.
func (s *Slab) Bytes(i int) []byte {
	from := s.Offset(i)
	to := from + s.Cache.Size
	if s.missing != nil && !s.present(from, to) {
		return nil
	}
	return s.Mem[from:to:to]
}

// Peek reads kernel virtual memory, as kernel.Memory.Peek does, by the means of the
// sweep: around the page cache, of which each worker keeps a few of the pages that it
// read last. The result is valid until the next call. Errors are those of
// kernel.Memory.Peek.
func (s *Slab) Peek(virt uint64, buf []byte) ([]byte, error) {
	w := s.worker
	page := (virt - w.direct) / w.s.Kernel().PageSize()
	return w.peekBy(&w.aside[page%asidePages], virt, buf)
}

// asidePages is how many pages of consumers a worker keeps.
const asidePages = 16

func (s *Slab) present(from, to int) bool {
	size := len(s.Mem) / len(s.missing)
	for page := from / size; page <= (to-1)/size; page++ {
		if s.missing[page] {
			return false
		}
	}
	return true
}

// read reads the memory of a slab: a view of the dump where it is one page that the
// dump holds as it was, and else a copy. The error is that of the first page that is
// missing.
func (w *worker) read(s *Slab) error {
	size := int(w.s.Kernel().PageSize())
	phys := s.PFN * uint64(size)
	bytes := size << s.Order
	s.missing, s.prefix = nil, bytes
	if cap(w.buf) < bytes {
		w.buf = make([]byte, bytes)
	}
	s.Mem = w.buf[:bytes]
	var first error
	for i := 0; i < bytes; i += size {
		part := s.Mem[i : i+size]
		b, err := w.pageAt(phys+uint64(i), part)
		switch {
		case err != nil:
			if first == nil {
				s.missing = make([]bool, bytes/size)
				first, s.prefix = fmt.Errorf("slab at %#x of cache %s: %w", s.Start, s.Cache.Name, err), i
			}
			clear(part)
			s.missing[i/size] = true
		case s.Order == 0:
			s.Mem = b
		case &b[0] != &part[0]:
			copy(part, b)
		}
	}
	return first
}

// heldPage is a page that was read before its slab was, for the struct slab in it.
type heldPage struct {
	phys uint64 // of its first byte, plus one; 0 for none
	data []byte
	buf  []byte
}

// pageAt reads a page, which may be the one that is at hand already.
func (w *worker) pageAt(phys uint64, buf []byte) ([]byte, error) {
	if w.held.phys == phys+1 {
		return w.held.data, nil
	}
	return w.reader.Page(phys, buf)
}

// peek reads a part of a page of the direct mapping for the decoder, and keeps the page
// at hand for the slab that lies there.
func (w *worker) peek(virt uint64, buf []byte) ([]byte, error) { return w.peekBy(&w.held, virt, buf) }

func (w *worker) peekBy(h *heldPage, virt uint64, buf []byte) ([]byte, error) {
	size := w.s.Kernel().PageSize()
	phys := virt - w.direct
	off := phys % size
	if off+uint64(len(buf)) > size || phys >= w.s.Kernel().Image().Facts().MaxPhys {
		return w.s.Kernel().Peek(virt, buf)
	}
	if h.phys != phys-off+1 {
		if h.buf == nil {
			h.buf = make([]byte, size)
		}
		data, err := w.reader.Page(phys-off, h.buf)
		if err != nil {
			h.phys = 0
			return nil, &kernel.ReadError{Addr: virt, Err: err}
		}
		h.phys, h.data = phys-off+1, data
	}
	return h.data[off:][:len(buf)], nil
}
