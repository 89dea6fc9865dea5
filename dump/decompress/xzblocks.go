package decompress

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/mikelolasagasti/xz"
)

// maxBlock bounds the memory that a block takes unpacked.
const maxBlock = 128 << 20

// xzReader reads an .xz file of one stream whose blocks are unpacked one by one,
// several at a time. It is not safe for use by several goroutines.
type xzReader struct {
	list  []XZBlock
	total int64

	readers sync.Pool // of *xz.Reader

	at      int64
	pending map[int]chan unpackedBlock // being unpacked, or done
	current int                        // the block that data are of, -1 for none
	data    []byte
}

type unpackedBlock struct {
	data []byte
	err  error
}

// openBlocks reads the index of an .xz file.
func openBlocks(r io.ReaderAt, size int64) (*xzReader, error) {
	list, err := XZBlocks(r, size)
	if err != nil {
		return nil, err
	}
	x := &xzReader{list: list, current: -1, pending: map[int]chan unpackedBlock{}}
	for i := range list {
		if list[i].Size > maxBlock {
			return nil, errXZ
		}
		x.total += list[i].Size
	}
	return x, nil
}

// unpack unpacks one block into memory.
func (x *xzReader) unpack(b *XZBlock) ([]byte, error) {
	r, err := x.reader(bufio.NewReaderSize(b.File(), 64<<10))
	if err != nil {
		return nil, err
	}
	defer x.readers.Put(r)
	var out bytes.Buffer
	out.Grow(int(min(b.Size, 64*b.Packed)) + bytes.MinRead)
	if n, err := io.Copy(&out, io.LimitReader(r, b.Size+1)); err != nil || n != b.Size {
		return nil, fmt.Errorf("%w: block at %#x: %w", errXZ, b.Offset, errors.Join(err))
	}
	return out.Bytes(), nil
}

// reader returns a reader of a small .xz file; its dictionary is used again.
func (x *xzReader) reader(file io.Reader) (*xz.Reader, error) {
	if r, ok := x.readers.Get().(*xz.Reader); ok {
		return r, r.Reset(file)
	}
	return xz.NewReader(file, maxDictionary)
}

// load makes block i the current one, and has the next ones unpacked meanwhile.
func (x *xzReader) load(i int) error {
	ahead := min(i+runtime.GOMAXPROCS(0), len(x.list))
	for j := range x.pending {
		if j < i || j >= ahead {
			delete(x.pending, j)
		}
	}
	for j := i; j < ahead; j++ {
		if x.pending[j] == nil {
			done := make(chan unpackedBlock, 1)
			x.pending[j] = done
			go func() {
				data, err := x.unpack(&x.list[j])
				done <- unpackedBlock{data, err}
			}()
		}
	}
	b := <-x.pending[i]
	delete(x.pending, i)
	x.current, x.data = i, b.data
	return b.err
}

// Read reads unpacked data.
func (x *xzReader) Read(p []byte) (int, error) {
	if x.at >= x.total {
		return 0, io.EOF
	}
	i, found := slices.BinarySearchFunc(x.list, x.at, func(b XZBlock, at int64) int {
		switch {
		case b.Start+b.Size <= at:
			return -1
		case b.Start > at:
			return 1
		}
		return 0
	})
	if !found {
		return 0, errXZ
	}
	if i != x.current {
		if err := x.load(i); err != nil {
			x.current = -1
			return 0, err
		}
	}
	n := copy(p, x.data[x.at-x.list[i].Start:])
	x.at += int64(n)
	return n, nil
}

// Seek goes to a place in the unpacked data; blocks that are passed over are
// never unpacked.
func (x *xzReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += x.at
	case io.SeekEnd:
		offset += x.total
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	x.at = offset
	return offset, nil
}

// Close lets go of the data. What is being unpacked ends by itself.
func (x *xzReader) Close() error {
	x.pending, x.data, x.current = map[int]chan unpackedBlock{}, nil, -1
	return nil
}
