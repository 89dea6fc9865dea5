package sweep

import (
	"fmt"

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

	decoder *slab.Decoder
	missing []bool // by page, nil where none is
	prefix  int    // bytes of Mem before the first page that is missing
}

// Live tells whether the i-th object is in use.
func (s *Slab) Live(i int) bool { return !s.decoder.IsFree(i) }

// Bytes is the memory of the i-th object, nil where a page of it is missing.
func (s *Slab) Bytes(i int) []byte {
	from := s.Offset(i)
	to := from + s.Cache.Size
	if s.missing != nil && !s.present(from, to) {
		return nil
	}
	return s.Mem[from:to:to]
}

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
		b, err := w.reader.Page(phys+uint64(i), part)
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
