package dumpwriter

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/snappy"
)

// LiME writes the image of the LiME module: each range of memory behind a
// header. There is no room in it for anything but memory: only Order, PageSize
// and MaxSegment of the Config count, and excluded pages are holes.
func LiME(w io.WriterAt, mem Memory, cfg Config) error {
	c := cfg.withDefaults()
	out := newCursor(w, 0)
	for _, seg := range c.segments(mem) {
		if seg.present == 0 {
			continue
		}
		out.write(c.rangeHeader(0x4c694d45, 1, seg))
		if err := c.eachPage(mem, seg, func(page []byte) { out.write(page) }); err != nil {
			return err
		}
	}
	return out.flush()
}

// AVML writes the compressed image of avml: blocks of MaxSegment pages (16 MiB
// if that is 0), each with its length behind it; blocks of zeros are left out.
func AVML(w io.WriterAt, mem Memory, cfg Config) error {
	c := cfg.withDefaults()
	c.Order = binary.LittleEndian
	if c.MaxSegment == 0 {
		c.MaxSegment = uint64(16 << 20 / c.PageSize)
	}
	out := newCursor(w, 0)
	for _, seg := range c.segments(mem) {
		var packed bytes.Buffer
		frames := snappy.NewBufferedWriter(&packed)
		zero := true
		err := c.eachPage(mem, seg, func(page []byte) {
			zero = zero && len(bytes.TrimLeft(page, "\x00")) == 0
			_, _ = frames.Write(page) // a buffer takes everything
		})
		if err != nil {
			return err
		}
		if err := frames.Close(); err != nil {
			return err
		}
		if zero {
			continue
		}
		out.write(c.rangeHeader(0x4c4d5641, 2, seg))
		out.write(packed.Bytes())
		out.write(binary.LittleEndian.AppendUint64(nil, uint64(packed.Len())))
	}
	return out.flush()
}

// rangeHeader is the header of a range of a LiME or AVML image.
func (c *Config) rangeHeader(magic, version uint32, seg segment) []byte {
	s := &structure{order: c.Order, bits: 64, align: 8}
	s.u32(magic)
	s.u32(version)
	s.u64(seg.first * uint64(c.PageSize))
	s.u64((seg.first+seg.present)*uint64(c.PageSize) - 1)
	s.u64(0)
	return s.data
}

// eachPage reads the present pages of a segment.
func (c *Config) eachPage(mem Memory, seg segment, fn func(page []byte)) error {
	page := make([]byte, c.PageSize)
	for pfn := seg.first; pfn < seg.first+seg.present; pfn++ {
		if err := mem.Read(pfn, page); err != nil {
			return err
		}
		fn(page)
	}
	return nil
}
