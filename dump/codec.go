package dump

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/kmortem/mortem/dump/internal/inflate"
	"github.com/kmortem/mortem/dump/internal/lzo"
)

// Codec is how a page is packed in a kdump-compressed file: a bit of
// page_desc.flags (makedumpfile diskdump_mod.h, DUMP_DH_COMPRESSED_*).
type Codec uint32

// The codecs, and the mask of all of them.
const (
	CodecRaw    Codec = 0
	CodecZlib   Codec = 0x1
	CodecLZO    Codec = 0x2  // LZO1X; header version 5, makedumpfile 1.4.4
	CodecSnappy Codec = 0x4  // makedumpfile 1.5.1
	CodecZstd   Codec = 0x20 // makedumpfile 1.7.0

	codecMask = CodecZlib | CodecLZO | CodecSnappy | CodecZstd
)

// Codecs are all codecs, in the order of their values.
var Codecs = []Codec{CodecRaw, CodecZlib, CodecLZO, CodecSnappy, CodecZstd}

// String is the codec's name, "raw" for pages as they were.
func (c Codec) String() string {
	switch c {
	case CodecRaw:
		return "raw"
	case CodecZlib:
		return "zlib"
	case CodecLZO:
		return "lzo"
	case CodecSnappy:
		return "snappy"
	case CodecZstd:
		return "zstd"
	}
	return fmt.Sprintf("codec %#x", uint32(c))
}

// decoder unpacks pages, one at a time. It keeps the state of the codecs that
// it has met, so that unpacking allocates nothing.
type decoder struct {
	zlib  inflate.Decoder
	zstd  *zstd.Decoder
	buf   []byte // packed bytes of files that are not mapped
	chunk []byte // memory for the next pages of the cache
}

var (
	errTrailing = errors.New("the packed page is longer than a page")
	errShort    = errors.New("the packed page is shorter than a page")
)

// decode unpacks src into dst, which it must fill exactly.
func (d *decoder) decode(codec Codec, dst, src []byte) error {
	switch codec {
	case CodecRaw:
		if len(src) != len(dst) {
			return fmt.Errorf("an unpacked page of %d bytes where a page has %d", len(src), len(dst))
		}
		copy(dst, src)
		return nil
	case CodecZlib:
		return d.zlib.Decompress(dst, src)
	case CodecLZO:
		n, err := lzo.Decompress(dst, src)
		return wantPage(n, len(dst), err)
	case CodecSnappy:
		// The length comes first, and Decode would take memory for it.
		if n, err := snappy.DecodedLen(src); err != nil || n != len(dst) {
			return wantPage(n, len(dst), err)
		}
		out, err := snappy.Decode(dst, src)
		return wantPage(len(out), len(dst), err)
	case CodecZstd:
		return d.unzstd(dst, src)
	}
	return fmt.Errorf("the page descriptor names an unknown %v", codec)
}

func wantPage(got, want int, err error) error {
	switch {
	case err != nil:
		return err
	case got < want:
		return errShort
	case got > want:
		return errTrailing
	}
	return nil
}

func (d *decoder) unzstd(dst, src []byte) error {
	if d.zstd == nil {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(1<<26))
		if err != nil {
			return err
		}
		d.zstd = z
	}
	out, err := d.zstd.DecodeAll(src, dst[:0:len(dst)])
	return wantPage(len(out), len(dst), err)
}
