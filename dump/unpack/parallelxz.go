package unpack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"runtime"
	"sync"
)

// An xz file (xz-file-format.txt 1.0.4) is a header of 12 bytes, blocks, an
// index with two numbers for each block, and a footer of 12 bytes. xz writes
// many blocks when it packs with several threads, which it does on its own
// since 5.6. Each of them can be unpacked alone: as a file of its own, of the
// same header, the one block, and an index of one entry.
const (
	xzHeader = 12
	xzMagic  = "\xfd7zXZ\x00"
	xzFooter = "YZ"
)

// xzBlock is one block.
type xzBlock struct {
	off, size int64 // place in the file, padding included
	unpadded  uint64
	at, plain int64 // place of the unpacked bytes
}

// parallelXZ unpacks the blocks of a file on all processors.
func parallelXZ(ctx context.Context, src io.ReaderAt, size int64, out *writer, progress func(done, total int64)) error {
	head, blocks, err := xzBlocks(src, size)
	if err != nil {
		return err
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		next  int
		done  int64
		first error // of the block with the lowest number
		at    = len(blocks)
	)
	take := func() int {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			next++
		}
		return next - 1
	}
	finish := func(i int, err error) {
		mu.Lock()
		defer mu.Unlock()
		done += blocks[i].size
		if err != nil && i < at {
			at, first = i, err
			next = len(blocks) + 1 // nobody takes another one
		}
		if progress != nil && err == nil {
			progress(done, size)
		}
	}
	for range min(runtime.GOMAXPROCS(0), len(blocks)) {
		wg.Go(func() {
			for i := take(); i < len(blocks); i = take() {
				finish(i, blocks[i].unpack(ctx, head, src, out))
			}
		})
	}
	wg.Wait()
	if first != nil {
		out.cut(blocks[at].at)
	}
	return first
}

// xzBlocks finds the blocks of a file by its index. It gives errNotParallel for
// one that has a single block, several streams, or an index that is wrong: the
// reader of streams knows what to do about them.
func xzBlocks(src io.ReaderAt, size int64) (head []byte, blocks []xzBlock, err error) {
	head, foot := make([]byte, xzHeader), make([]byte, xzHeader)
	if size < 2*xzHeader {
		return nil, nil, errNotParallel
	}
	if err := readBoth(src, head, 0, foot, size-xzHeader); err != nil {
		return nil, nil, err
	}
	indexSize := (int64(binary.LittleEndian.Uint32(foot[4:])) + 1) * 4
	if !bytes.HasPrefix(head, []byte(xzMagic)) || string(foot[10:]) != xzFooter || indexSize > size-2*xzHeader {
		return nil, nil, errNotParallel
	}
	index := make([]byte, indexSize)
	indexAt := size - xzHeader - indexSize
	if _, err := src.ReadAt(index, indexAt); err != nil {
		return nil, nil, err
	}
	blocks = parseIndex(index, indexAt)
	if len(blocks) < 2 {
		return nil, nil, errNotParallel
	}
	return head, blocks, nil
}

func readBoth(src io.ReaderAt, a []byte, aOff int64, b []byte, bOff int64) error {
	if _, err := src.ReadAt(a, aOff); err != nil {
		return err
	}
	_, err := src.ReadAt(b, bOff)
	if err == io.EOF {
		return nil
	}
	return err
}

// parseIndex reads the index, nil if it does not describe exactly the bytes
// between header and index.
func parseIndex(index []byte, indexAt int64) []xzBlock {
	body := index[:len(index)-4]
	if index[0] != 0 || crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(index[len(body):]) {
		return nil
	}
	body = body[1:]
	number := func() uint64 {
		n, used := binary.Uvarint(body)
		if used <= 0 {
			body = nil
			return 1 << 63
		}
		body = body[used:]
		return n
	}
	count := number()
	if count > uint64(len(index))/2 {
		return nil
	}
	blocks := make([]xzBlock, 0, count)
	off, at := int64(xzHeader), int64(0)
	for range count {
		unpadded, plain := number(), number()
		if unpadded == 0 || unpadded > uint64(indexAt) || plain > 1<<50 {
			return nil
		}
		b := xzBlock{off, int64(unpadded+3) &^ 3, unpadded, at, int64(plain)}
		off, at = off+b.size, at+b.plain
		if off > indexAt || at > 1<<55 {
			return nil
		}
		blocks = append(blocks, b)
	}
	if off != indexAt {
		return nil
	}
	return blocks
}

// unpack unpacks one block to its place.
func (b *xzBlock) unpack(ctx context.Context, head []byte, src io.ReaderAt, out *writer) error {
	in := &meter{ctx: ctx, r: io.MultiReader(
		bytes.NewReader(head),
		io.NewSectionReader(src, b.off, b.size),
		bytes.NewReader(b.tail(head)))}
	plain, err := openXZ(in)
	if err == nil {
		// The reader compares the length with the index, at the end; until
		// then nothing may be written behind the block's place.
		err = pour(io.NewOffsetWriter(&bounded{out, b.at + b.plain}, b.at), plain)
	}
	return blame(err, in, out)
}

// bounded refuses to write behind an end.
type bounded struct {
	w   io.WriterAt
	end int64
}

func (b *bounded) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.end {
		return 0, errors.New("a block unpacks to more than its index says")
	}
	return b.w.WriteAt(p, off)
}

// tail is an index of this block alone, and a footer.
func (b *xzBlock) tail(head []byte) []byte {
	index := []byte{0, 1}
	index = binary.AppendUvarint(index, b.unpadded)
	index = binary.AppendUvarint(index, uint64(b.plain))
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	size := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	size = append(size, head[6], head[7]) // the kind of checksum
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(size))
	return append(append(index, size...), xzFooter...)
}
