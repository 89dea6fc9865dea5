package elffile

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// The bound on what a section may unpack to: debug information shrinks to a
// third or a tenth; a section that claims much more is an attack.
const (
	maxRatio    = 128
	alwaysAllow = 64 << 20
)

// unpackSection unpacks a section with an ELF compression header (SHF_COMPRESSED,
// gABI chapter 4) or the older .zdebug_ form: "ZLIB" and the size as a
// big-endian 64-bit number before a zlib stream.
func unpackSection(s *elf.Section, raw []byte) ([]byte, error) {
	if s.Flags&elf.SHF_COMPRESSED == 0 {
		if len(raw) < 12 || string(raw[:4]) != "ZLIB" {
			return nil, errors.New("has no ZLIB header")
		}
		return unpack(elf.COMPRESS_ZLIB, raw[12:], binary.BigEndian.Uint64(raw[4:]))
	}
	kind, size, body, err := compressionHeader(raw)
	if err != nil {
		return nil, err
	}
	return unpack(kind, body, size)
}

func compressionHeader(raw []byte) (elf.CompressionType, uint64, []byte, error) {
	if len(raw) < 24 {
		return 0, 0, nil, errors.New("is too short for its compression header")
	}
	le := binary.LittleEndian
	return elf.CompressionType(le.Uint32(raw)), le.Uint64(raw[8:]), raw[24:], nil
}

func unpack(kind elf.CompressionType, body []byte, size uint64) ([]byte, error) {
	if size > alwaysAllow && size > maxRatio*uint64(len(body)) {
		return nil, fmt.Errorf("claims to unpack from %d to %d bytes", len(body), size)
	}
	r, err := decompressor(kind, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readExactly(r, size)
}

func decompressor(kind elf.CompressionType, r io.Reader) (io.ReadCloser, error) {
	switch kind {
	case elf.COMPRESS_ZLIB:
		return zlib.NewReader(r)
	case elf.COMPRESS_ZSTD:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(alwaysAllow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("has compression type %d, which is unknown", kind)
}

// readExactly reads size bytes and the end. The buffer grows with what really
// arrives, so that a forged size costs nothing.
func readExactly(r io.Reader, size uint64) ([]byte, error) {
	const step = 16 << 20
	data := make([]byte, 0, min(size, step))
	for uint64(len(data)) < size {
		if len(data) == cap(data) {
			grown := make([]byte, len(data), min(size, 2*uint64(cap(data))))
			copy(grown, data)
			data = grown
		}
		n, err := io.ReadFull(r, data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err != nil {
			return nil, fmt.Errorf("unpacks to %d bytes in place of %d: %w", len(data), size, err)
		}
	}
	if n, err := io.ReadFull(r, make([]byte, 1)); n != 0 || err != io.EOF {
		return nil, fmt.Errorf("does not end after the %d bytes that its header says", size)
	}
	return data, nil
}
