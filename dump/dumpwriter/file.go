package dumpwriter

import "io"

// file writes single pieces and remembers the first error.
type file struct {
	w   io.WriterAt
	err error
}

func (f *file) put(off int64, data []byte) {
	if f.err == nil && len(data) > 0 {
		_, f.err = f.w.WriteAt(data, off)
	}
}

// cursor writes forward from a place, in large pieces.
type cursor struct {
	file
	buf []byte
	pos int64 // of the first byte of buf
	at  int64 // of the next byte
}

const cursorBuffer = 1 << 18

func newCursor(w io.WriterAt, at int64) *cursor {
	return &cursor{file: file{w: w}, pos: at, at: at}
}

func (c *cursor) write(data []byte) {
	c.buf = append(c.buf, data...)
	c.at += int64(len(data))
	if len(c.buf) >= cursorBuffer {
		_ = c.flush() // the error stays in c.err
	}
}

func (c *cursor) flush() error {
	c.put(c.pos, c.buf)
	c.pos, c.buf = c.at, c.buf[:0]
	return c.err
}

func roundUp(n, align int64) int64 { return (n + align - 1) / align * align }
