package dumpwriter

import (
	"encoding/binary"
	"io"
)

// Flattener turns what is written to places into a stream of records, the
// flattened format of makedumpfile -F.
type Flattener struct {
	w       io.Writer
	started bool
}

// NewFlattener returns a Flattener that writes to w.
func NewFlattener(w io.Writer) *Flattener { return &Flattener{w: w} }

// WriteAt implements io.WriterAt: it writes one record.
func (f *Flattener) WriteAt(p []byte, off int64) (int, error) {
	if err := f.start(); err != nil {
		return 0, err
	}
	if err := f.record(off, int64(len(p))); err != nil {
		return 0, err
	}
	return f.w.Write(p)
}

// Close writes the mark of the end. It does not close the underlying writer.
// Errors are those of that writer.
func (f *Flattener) Close() error {
	if err := f.start(); err != nil {
		return err
	}
	return f.record(-1, -1)
}

// start writes the header, once.
func (f *Flattener) start() error {
	if f.started {
		return nil
	}
	f.started = true
	head := make([]byte, 4096)
	copy(head, "makedumpfile")
	binary.BigEndian.PutUint64(head[16:], 1) // type
	binary.BigEndian.PutUint64(head[24:], 1) // version
	_, err := f.w.Write(head)
	return err
}

func (f *Flattener) record(off, size int64) error {
	var head [16]byte
	binary.BigEndian.PutUint64(head[:], uint64(off))
	binary.BigEndian.PutUint64(head[8:], uint64(size))
	_, err := f.w.Write(head[:])
	return err
}
