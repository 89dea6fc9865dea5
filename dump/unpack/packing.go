package unpack

import (
	"bufio"
	"bytes"
	"context"
	"io"

	"github.com/klauspost/compress/zlib"

	"github.com/kmortem/mortem/dump/decompress"
)

// HeadSize is how many bytes from the beginning of a file Detect needs.
const HeadSize = 4096

// Detect returns the name of the packer of a file by its beginning: "gzip",
// "xz", "zstd", "bzip2", or "zlib" for a LiME image that was packed while it was
// written; empty for a file that is not packed. HeadSize bytes are enough.
func Detect(head []byte) string { return packing(head).String() }

// packing finds out how a file is packed. The three bytes of LZMA's magic number
// may also be the first ones of plain memory.
func packing(head []byte) decompress.Format {
	switch f := decompress.Detect(head); {
	case f != decompress.None && f != decompress.LZMA:
		return f
	case isPackedLiME(head):
		return decompress.Zlib
	}
	return decompress.None
}

// isPackedLiME tells whether a zlib stream begins as a LiME image does.
func isPackedLiME(head []byte) bool {
	if len(head) < 16 || head[0]&0x0f != 8 || (int(head[0])<<8|int(head[1]))%31 != 0 {
		return false
	}
	r, err := zlib.NewReader(bytes.NewReader(head))
	if err != nil {
		return false
	}
	first := make([]byte, 4)
	_, err = io.ReadFull(r, first)
	return err == nil && string(first) == "EMiL"
}

// unpackFile writes what src unpacks to.
func (o *Options) unpackFile(ctx context.Context, src io.ReaderAt, size int64, format decompress.Format, out *writer) error {
	if format == decompress.XZ {
		if blocks, err := decompress.XZBlocks(src, size); err == nil && len(blocks) > 1 {
			if err := o.checkBlock(&blocks[0]); err != nil {
				return err
			}
			return unpackBlocks(ctx, blocks, size, out, o.Progress)
		}
	}
	in := &meter{ctx: ctx, r: io.NewSectionReader(src, 0, size), total: size, progress: o.Progress}
	return o.stream(in, in, format, out)
}

// stream writes what r, which reads from in, unpacks to.
func (o *Options) stream(in *meter, r io.Reader, format decompress.Format, out *writer) error {
	plain, err := decompress.Reader(r, format)
	if err == nil {
		defer plain.Close()
		b := bufio.NewReaderSize(plain, HeadSize)
		if err := o.checkHead(b); err != nil {
			return err
		}
		err = pour(out, b)
	}
	return blame(err, in, out)
}

// checkHead asks Options.Check about the first unpacked bytes.
func (o *Options) checkHead(plain *bufio.Reader) error {
	if o.Check == nil {
		return nil
	}
	head, _ := plain.Peek(HeadSize) // an error comes again when they are read
	if len(head) == 0 {
		return nil
	}
	return o.Check(head)
}

// checkBlock is checkHead for a file that is unpacked in blocks.
func (o *Options) checkBlock(first *decompress.XZBlock) error {
	plain, err := decompress.Reader(first.File(), decompress.XZ)
	if err != nil {
		return nil // damage is told when the block is unpacked
	}
	defer plain.Close()
	return o.checkHead(bufio.NewReaderSize(plain, HeadSize))
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
func (o *Options) spool(in *meter, out *writer) error {
	r := bufio.NewReaderSize(in, 1<<20)
	head, err := r.Peek(HeadSize)
	if err != nil && err != io.EOF {
		return err
	}
	if f := packing(head); f != decompress.None {
		return o.stream(in, r, f, out)
	}
	if err := o.checkHead(r); err != nil {
		return err
	}
	if err := pour(out, r); err != nil {
		return err
	}
	return in.err
}
