// Package decompress reads files that are compressed as a whole: dumps, vmlinux,
// modules, and the packages that they come in. xz files of several blocks, as
// "xz -T" and dpkg make them, are unpacked by all processors.
package decompress

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
	"github.com/ulikunitz/xz/lzma"
)

// Format is a way of compression.
type Format uint8

// The formats.
const (
	None Format = iota
	XZ
	Gzip
	Zstd
	Bzip2
	LZMA // the older format of xz, in packages of 2010
	Zlib // a bare stream; Detect does not find it, for it has no magic number
)

var formats = [...]struct{ name, magic string }{
	XZ:    {"xz", "\xfd7zXZ\x00"},
	Gzip:  {"gzip", "\x1f\x8b\x08"}, // 8 is deflate, the only method that there is
	Zstd:  {"zstd", "\x28\xb5\x2f\xfd"},
	Bzip2: {"bzip2", "BZh"},
	LZMA:  {"lzma", "\x5d\x00\x00"},
	Zlib:  {name: "zlib"},
}

// String is the name of the program that packs so, empty for None.
func (f Format) String() string {
	if int(f) >= len(formats) {
		return ""
	}
	return formats[f].name
}

// Detect tells the format by the first bytes of a file; 6 are enough.
func Detect(start []byte) Format {
	for i, f := range formats {
		if f.magic != "" && bytes.HasPrefix(start, []byte(f.magic)) {
			return Format(i)
		}
	}
	return None
}

// maxDictionary bounds the memory that a compressed file can ask for: that of
// "xz -9e" is 64 MB, distributions go up to 128 MB.
const maxDictionary = 512 << 20

// Reader unpacks a stream. For None it is the stream itself. It must be closed.
// It fails where the stream does not begin as the format does; what is damaged
// further on gives errors of Read. Memory is bounded, whatever the stream asks for.
func Reader(r io.Reader, format Format) (io.ReadCloser, error) {
	plain, err := reader(bufio.NewReaderSize(r, 1<<20), format)
	if err != nil {
		return nil, err
	}
	return closer{plain}, nil
}

func reader(r *bufio.Reader, format Format) (io.Reader, error) {
	switch format {
	case None:
		return r, nil
	case XZ:
		return xz.NewReader(r, maxDictionary)
	case Gzip:
		return gzip.NewReader(r)
	case Zlib:
		return zlib.NewReader(r)
	case Zstd:
		// The limit of memory would be one of the file's size.
		return zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxDictionary), zstd.WithDecoderMaxMemory(1<<50))
	case Bzip2:
		return bzip2.NewReader(r), nil
	case LZMA:
		return lzma.ReaderConfig{DictCap: 128 << 20}.NewReader(r)
	}
	return nil, errors.New("unknown compression")
}

// File unpacks a file: in parallel where it is made for that. The result is
// also an io.Seeker for those, which then unpack only what is read. It must be
// closed. size is in bytes; errors are those of Reader.
func File(r io.ReaderAt, size int64) (io.ReadCloser, error) {
	start := make([]byte, 6)
	n, _ := r.ReadAt(start, 0)
	format := Detect(start[:n])
	if format == XZ {
		if blocks, err := openBlocks(r, size); err == nil && len(blocks.list) > 1 {
			return blocks, nil
		}
	}
	return Reader(io.NewSectionReader(r, 0, size), format)
}

// closer gives readers a Close; zstd's needs one to end its goroutines.
type closer struct{ io.Reader }

func (c closer) Close() error {
	if z, ok := c.Reader.(*zstd.Decoder); ok {
		z.Close()
	}
	return nil
}
