package decompress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// The parts of an .xz file, by the document "The .xz File Format" 1.2.1: stream
// header, blocks, index, stream footer. xz writes many blocks when it packs with
// several threads, which it does on its own since 5.6, and so does dpkg. Each of
// them can be unpacked alone: as a file of its own, of the same header, the one
// block, and an index of one entry.
const (
	xzHeaderSize = 12
	xzFooterSize = 12
	xzMagic      = "\xfd7zXZ\x00"
	xzFooter     = "YZ"
	maxIndex     = 16 << 20
)

// errXZ: the index does not describe the file. There may be several streams,
// which a reader of streams knows what to do about.
var errXZ = errors.New("damaged xz file")

// XZBlock is one block of an .xz file, by its record in the index.
type XZBlock struct {
	Offset, Packed int64 // place in the file, padding included
	Start, Size    int64 // place of the unpacked bytes

	unpadded int64 // size in the file without padding
	file     io.ReaderAt
	flags    [2]byte
}

// XZBlocks finds the blocks of an .xz file of one stream by its index. It fails
// for a file whose index does not describe exactly the bytes between header and
// index.
func XZBlocks(r io.ReaderAt, size int64) ([]XZBlock, error) {
	var header [xzHeaderSize]byte
	var footer [xzFooterSize]byte
	if size < xzHeaderSize+xzFooterSize {
		return nil, errXZ
	}
	if err := readFull(r, header[:], 0); err != nil {
		return nil, err
	}
	if err := readFull(r, footer[:], size-xzFooterSize); err != nil {
		return nil, err
	}
	indexSize := (int64(binary.LittleEndian.Uint32(footer[4:])) + 1) * 4
	if string(header[:6]) != xzMagic || string(footer[10:]) != xzFooter || !bytes.Equal(header[6:8], footer[8:10]) ||
		indexSize > maxIndex || indexSize > size-xzHeaderSize-xzFooterSize {
		return nil, errXZ
	}
	index := make([]byte, indexSize)
	end := size - xzFooterSize - indexSize
	if err := readFull(r, index, end); err != nil {
		return nil, err
	}
	blocks, err := parseIndex(index, end)
	for i := range blocks {
		blocks[i].file, blocks[i].flags = r, [2]byte(header[6:8])
	}
	return blocks, err
}

// readFull takes io.EOF together with all bytes for no error.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	return err
}

// maxUnpacked bounds the sum of the blocks, so that it cannot overflow.
const maxUnpacked = 1 << 55

// parseIndex reads the records: unpadded and unpacked size of each block. They
// must fill the file up to the index, or there is more than one stream.
func parseIndex(index []byte, end int64) ([]XZBlock, error) {
	body := index[:len(index)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(index[len(body):]) || index[0] != 0 {
		return nil, errXZ
	}
	rest := index[1:len(body)]
	next := func() int64 {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > maxUnpacked {
			rest = nil
			return -1
		}
		rest = rest[size:]
		return int64(n)
	}
	count := next()
	if count < 0 || count > int64(len(index))/2 {
		return nil, errXZ
	}
	blocks := make([]XZBlock, 0, count)
	off, at := int64(xzHeaderSize), int64(0)
	for range count {
		b := XZBlock{Offset: off, unpadded: next(), Start: at}
		b.Packed, b.Size = (b.unpadded+3)&^3, next()
		if b.unpadded <= 0 || b.Size < 0 || b.Packed > end-off || b.Size > maxUnpacked-at {
			return nil, errXZ
		}
		blocks = append(blocks, b)
		off, at = off+b.Packed, at+b.Size
	}
	if off != end {
		return nil, errXZ
	}
	return blocks, nil
}

// File is the block as an .xz file of its own.
func (b *XZBlock) File() io.Reader {
	header := append([]byte(xzMagic), b.flags[:]...)
	header = binary.LittleEndian.AppendUint32(header, crc32.ChecksumIEEE(b.flags[:]))
	return io.MultiReader(bytes.NewReader(header), io.NewSectionReader(b.file, b.Offset, b.Packed), bytes.NewReader(b.tail()))
}

// tail is an index of this block alone, and a footer.
func (b *XZBlock) tail() []byte {
	index := binary.AppendUvarint([]byte{0, 1}, uint64(b.unpadded))
	index = binary.AppendUvarint(index, uint64(b.Size))
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	back := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	back = append(back, b.flags[:]...)
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(back))
	return append(append(index, back...), xzFooter...)
}
