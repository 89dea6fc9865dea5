package unpack

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// HeadSize is how many bytes from the beginning of a file Detect needs.
const HeadSize = 4096

// Detect returns the name of the packer of a file by its beginning: "gzip",
// "xz", "zstd", "bzip2", or "zlib" for a LiME image that was packed while it was
// written; empty for a file that is not packed.
func Detect(head []byte) string {
	if p := packing(head); p != nil {
		return p.name
	}
	return ""
}

// packer is one way to pack a file.
type packer struct {
	name  string
	magic string
	open  func(io.Reader) (io.Reader, error)
	// parallel unpacks a file in parts at once; it returns errNotParallel
	// where that cannot be done.
	parallel func(ctx context.Context, src io.ReaderAt, size int64, out *writer, progress func(done, total int64)) error
}

var errNotParallel = errors.New("not packed in parts")

// maxWindow bounds the memory that a packed file may ask for, in bytes.
const maxWindow = 512 << 20

var packers = []*packer{
	{name: "xz", magic: "\xfd7zXZ\x00", open: openXZ, parallel: parallelXZ},
	{name: "gzip", magic: "\x1f\x8b\x08", open: func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{name: "zstd", magic: "\x28\xb5\x2f\xfd", open: func(r io.Reader) (io.Reader, error) {
		// The limit of memory would be one of the file's size.
		return zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(1<<50))
	}},
	{name: "bzip2", magic: "BZh", open: func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
}

var packedLiME = &packer{name: "zlib", open: func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }}

func openXZ(r io.Reader) (io.Reader, error) { return xz.NewReader(r, maxWindow) }

// packing finds out how a file is packed, nil if it is not.
func packing(head []byte) *packer {
	for _, p := range packers {
		if bytes.HasPrefix(head, []byte(p.magic)) {
			return p
		}
	}
	if len(head) < 16 || head[0]&0x0f != 8 || (int(head[0])<<8|int(head[1]))%31 != 0 {
		return nil
	}
	r, err := zlib.NewReader(bytes.NewReader(head))
	if err != nil {
		return nil
	}
	first := make([]byte, 4)
	if _, err := io.ReadFull(r, first); err == nil && string(first) == "EMiL" {
		return packedLiME
	}
	return nil
}

// unpack writes what src unpacks to.
func (p *packer) unpack(ctx context.Context, src io.ReaderAt, size int64, out *writer, progress func(done, total int64)) error {
	if p.parallel != nil {
		if err := p.parallel(ctx, src, size, out, progress); !errors.Is(err, errNotParallel) {
			return err
		}
	}
	in := &meter{ctx: ctx, r: io.NewSectionReader(src, 0, size), total: size, progress: progress}
	return p.stream(in, bufio.NewReaderSize(in, 1<<20), out)
}

// stream writes what r, which reads from in, unpacks to.
func (p *packer) stream(in *meter, r io.Reader, out *writer) error {
	plain, err := p.open(r)
	if err == nil {
		if c, ok := plain.(interface{ Close() }); ok {
			defer c.Close() // ends the goroutines of zstd
		}
		err = pour(out, plain)
	}
	return blame(err, in, out)
}

// pour copies in pieces that begin at multiples of their length, as the writer
// wants them to find pages of zeros.
func pour(w io.Writer, r io.Reader) error {
	buf := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(r, buf)
		if _, werr := w.Write(buf[:n]); werr != nil {
			return werr
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		case io.ErrUnexpectedEOF:
			// The end, or the reader's own word for packed bytes that are cut
			// short: the next read tells.
			if _, err := r.Read(buf[:1]); err != io.EOF {
				return err
			}
			return nil
		default:
			return err
		}
	}
}

// blame tells errors of the packed bytes from those of reading and writing.
func blame(err error, in *meter, out *writer) error {
	switch werr := out.failed(); {
	case err == nil:
		return nil
	case werr != nil:
		return werr
	case in.err != nil:
		return in.err
	}
	return &damageError{err}
}

// spool writes what comes from in, unpacked if it is packed.
func spool(in *meter, out *writer) error {
	r := bufio.NewReaderSize(in, 1<<20)
	head, err := r.Peek(HeadSize)
	if err != nil && err != io.EOF {
		return err
	}
	if p := packing(head); p != nil {
		return p.stream(in, r, out)
	}
	if err := pour(out, r); err != nil {
		return err
	}
	return in.err
}
