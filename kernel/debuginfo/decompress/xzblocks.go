package decompress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/mikelolasagasti/xz"
)

// The parts of an .xz file, by the document "The .xz File Format" 1.2.1:
// stream header, blocks, index, stream footer.
const (
	xzHeaderSize = 12
	xzFooterSize = 12
	xzMagic      = "\xfd7zXZ\x00"
	xzFooter     = "YZ"
	// maxBlock bounds the memory that a block takes unpacked.
	maxBlock = 128 << 20
	maxIndex = 16 << 20
)

var errXZ = errors.New("damaged xz file")

// xzBlock is one block of an .xz file, by its record in the index.
type xzBlock struct {
	offset   int64 // in the file
	unpadded int64 // size in the file without padding
	start    int64 // in the unpacked data
	size     int64 // unpacked
}

// xzBlocks is an .xz file of one stream whose blocks are unpacked one by one,
// several at a time. It is not safe for use by several goroutines.
type xzBlocks struct {
	r     io.ReaderAt
	flags [2]byte
	list  []xzBlock
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
func openBlocks(r io.ReaderAt, size int64) (*xzBlocks, error) {
	var header [xzHeaderSize]byte
	var footer [xzFooterSize]byte
	if size < xzHeaderSize+xzFooterSize {
		return nil, errXZ
	}
	if _, err := r.ReadAt(header[:], 0); err != nil {
		return nil, err
	}
	if _, err := r.ReadAt(footer[:], size-xzFooterSize); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	indexSize := (int64(le.Uint32(footer[4:])) + 1) * 4
	if string(header[:6]) != xzMagic || string(footer[10:]) != xzFooter || !bytes.Equal(header[6:8], footer[8:10]) ||
		indexSize > maxIndex || indexSize > size-xzHeaderSize-xzFooterSize {
		return nil, errXZ
	}
	index := make([]byte, indexSize)
	if _, err := r.ReadAt(index, size-xzFooterSize-indexSize); err != nil {
		return nil, err
	}
	x := &xzBlocks{r: r, flags: [2]byte(header[6:8]), current: -1, pending: map[int]chan unpackedBlock{}}
	return x, x.readIndex(index, size-xzFooterSize-indexSize)
}

// readIndex reads the records: unpadded and unpacked size of each block. They
// must fill the file up to the index, or there is more than one stream.
func (x *xzBlocks) readIndex(index []byte, end int64) error {
	if crc32.ChecksumIEEE(index[:len(index)-4]) != binary.LittleEndian.Uint32(index[len(index)-4:]) || index[0] != 0 {
		return errXZ
	}
	rest := index[1:]
	next := func() int64 {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > 1<<60 {
			rest = nil
			return -1
		}
		rest = rest[size:]
		return int64(n)
	}
	offset := int64(xzHeaderSize)
	for range next() {
		b := xzBlock{offset: offset, unpadded: next(), start: x.total}
		b.size = next()
		if b.unpadded <= 0 || b.size < 0 || b.size > maxBlock || b.unpadded > end-offset {
			return errXZ
		}
		x.list = append(x.list, b)
		offset += roundUp(b.unpadded)
		x.total += b.size
	}
	if offset != end {
		return errXZ
	}
	return nil
}

func roundUp(n int64) int64 { return (n + 3) &^ 3 }

// unpack makes a file of its own of one block, and unpacks that.
func (x *xzBlocks) unpack(b xzBlock) ([]byte, error) {
	packed := make([]byte, roundUp(b.unpadded))
	if _, err := x.r.ReadAt(packed, b.offset); err != nil {
		return nil, err
	}
	header := append([]byte(xzMagic), x.flags[:]...)
	header = binary.LittleEndian.AppendUint32(header, crc32.ChecksumIEEE(x.flags[:]))
	index := binary.AppendUvarint([]byte{0, 1}, uint64(b.unpadded))
	index = binary.AppendUvarint(index, uint64(b.size))
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	back := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	back = append(back, x.flags[:]...)
	footer := append(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(back)), back...)
	footer = append(footer, xzFooter...)

	r, err := x.reader(io.MultiReader(bytes.NewReader(header), bytes.NewReader(packed), bytes.NewReader(index), bytes.NewReader(footer)))
	if err != nil {
		return nil, err
	}
	defer x.readers.Put(r)
	var out bytes.Buffer
	out.Grow(int(min(b.size, 64*b.unpadded)) + bytes.MinRead)
	if n, err := io.Copy(&out, io.LimitReader(r, b.size+1)); err != nil || n != b.size {
		return nil, fmt.Errorf("%w: block at %#x: %w", errXZ, b.offset, errors.Join(err))
	}
	return out.Bytes(), nil
}

// reader returns a reader of a small .xz file; its dictionary is used again.
func (x *xzBlocks) reader(file io.Reader) (*xz.Reader, error) {
	if r, ok := x.readers.Get().(*xz.Reader); ok {
		return r, r.Reset(file)
	}
	return xz.NewReader(file, maxDictionary)
}

// load makes block i the current one, and has the next ones unpacked meanwhile.
func (x *xzBlocks) load(i int) error {
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
				data, err := x.unpack(x.list[j])
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
func (x *xzBlocks) Read(p []byte) (int, error) {
	if x.at >= x.total {
		return 0, io.EOF
	}
	i, found := slices.BinarySearchFunc(x.list, x.at, func(b xzBlock, at int64) int {
		switch {
		case b.start+b.size <= at:
			return -1
		case b.start > at:
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
	n := copy(p, x.data[x.at-x.list[i].start:])
	x.at += int64(n)
	return n, nil
}

// Seek goes to a place in the unpacked data; blocks that are passed over are
// never unpacked.
func (x *xzBlocks) Seek(offset int64, whence int) (int64, error) {
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
func (x *xzBlocks) Close() error {
	x.pending, x.data, x.current = map[int]chan unpackedBlock{}, nil, -1
	return nil
}
