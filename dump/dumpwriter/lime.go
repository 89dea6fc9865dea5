package dumpwriter

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"

	"github.com/klauspost/compress/snappy"
)

// LiME writes the image of the LiME module (LiME doc/README.md, header version 1): each
// range of memory behind a header. There is no room in it for anything but memory: only
// Order, PageSize and MaxSegment of the Config count, and excluded pages are holes.
// Errors are those of w and of mem.
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

// AVML writes the compressed image of avml (AVML src/image.rs, version 2): blocks of
// MaxSegment pages (16 MiB if that is 0), each with its length behind it; blocks of zeros
// are left out. Errors are those of w and of mem.
func AVML(w io.WriterAt, mem Memory, cfg Config) error {
	c := cfg.withDefaults()
	c.Order = binary.LittleEndian
	if c.MaxSegment == 0 {
		c.MaxSegment = uint64(16 << 20 / c.PageSize)
	}
	out := newCursor(w, 0)
	for _, seg := range c.segments(mem) {
		var block []byte
		if err := c.eachPage(mem, seg, func(page []byte) { block = append(block, page...) }); err != nil {
			return err
		}
		if len(bytes.TrimLeft(block, "\x00")) == 0 {
			continue
		}
		packed := snappyFrames(block)
		out.write(c.rangeHeader(0x4c4d5641, 2, seg))
		out.write(packed)
		out.write(binary.LittleEndian.AppendUint64(nil, uint64(len(packed))))
	}
	return out.flush()
}

// snappyFrames packs data into a snappy stream in frames (google/snappy
// framing_format.txt) of 64 KiB each. What shrinks by less than an eighth stays
// as it is.
func snappyFrames(data []byte) []byte {
	out := []byte("\xff\x06\x00\x00sNaPpY")
	for chunk := range slices.Chunk(data, 65536) {
		kind, body := byte(0), snappy.Encode(nil, chunk)
		if len(body) >= len(chunk)-len(chunk)/8 {
			kind, body = 1, chunk
		}
		size := len(body) + 4
		out = append(out, kind, byte(size), byte(size>>8), byte(size>>16))
		sum := crc32.Checksum(chunk, crc32.MakeTable(crc32.Castagnoli))
		out = binary.LittleEndian.AppendUint32(out, (sum>>15|sum<<17)+0xa282ead8)
		out = append(out, body...)
	}
	return out
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
