package dumpwriter

import (
	"bytes"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/kmortem/mortem/dump/internal/lzo"
)

// Flags of page descriptors and of the header's status.
const (
	flagZlib   = 0x1
	flagLZO    = 0x2
	flagSnappy = 0x4
	flagZstd   = 0x20
)

// packer packs pages; it keeps what the codecs need between them.
type packer struct {
	buf  bytes.Buffer
	zlib *zlib.Writer
	zstd *zstd.Encoder
}

// page packs a page and returns the bytes and the flag for the descriptor. What
// does not shrink stays as it is.
func (p *packer) page(codec Codec, page []byte) ([]byte, uint32) {
	var packed []byte
	var flag uint32
	switch codec {
	case Zlib:
		packed, flag = p.deflate(page), flagZlib
	case LZO:
		packed, flag = lzo.Compress(page), flagLZO
	case Snappy:
		packed, flag = snappy.Encode(nil, page), flagSnappy
	case Zstd:
		if p.zstd == nil {
			// It fails on impossible options only.
			p.zstd, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
		}
		packed, flag = p.zstd.EncodeAll(page, nil), flagZstd
	default:
		return page, 0
	}
	if len(packed) >= len(page) {
		return page, 0
	}
	return packed, flag
}

func (p *packer) deflate(page []byte) []byte {
	p.buf.Reset()
	if p.zlib == nil {
		// makedumpfile's level; NewWriterLevel fails on impossible ones only.
		p.zlib, _ = zlib.NewWriterLevel(&p.buf, zlib.BestSpeed)
	} else {
		p.zlib.Reset(&p.buf)
	}
	// A bytes.Buffer does not fail.
	_, _ = p.zlib.Write(page)
	_ = p.zlib.Close()
	return p.buf.Bytes()
}
