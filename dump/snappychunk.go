package dump

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"sort"

	"github.com/klauspost/compress/snappy"
)

// A snappy stream in frames (google/snappy framing_format.txt) is a sequence of
// chunks: a type of one byte, a length of three, and so many bytes. Chunks of
// data begin with a checksum of what they unpack to and unpack to 65,536 bytes
// at most.
const (
	snappyPacked   = 0x00
	snappyPlain    = 0x01
	snappySkip     = 0x80 // this and above may be passed over
	snappyStream   = 0xff
	snappyChunkMax = 65536
	snappyRatio    = 22 // three bytes stand for 64 at most
	snappyCRC      = 4
	snappyHead     = 4
)

var snappyMagic = []byte("\xff\x06\x00\x00sNaPpY")

// snappyChunk is one chunk of data.
type snappyChunk struct {
	at    uint64 // place of its first byte in the unpacked stream
	off   int64  // place in the file, checksum included
	size  uint32 // bytes there
	shape uint32 // bytes unpacked, and snappyRaw
}

const snappyRaw = 1 << 31 // in shape: the bytes are not packed

func (c snappyChunk) plain() uint32 { return c.shape &^ snappyRaw }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// unpack unpacks the bytes of a chunk into dst, which has room for exactly
// what they unpack to.
func (c snappyChunk) unpack(dst, packed []byte) error {
	sum, packed := binary.LittleEndian.Uint32(packed), packed[snappyCRC:]
	if c.shape&snappyRaw != 0 {
		copy(dst, packed)
	} else if out, err := snappy.Decode(dst, packed); err != nil || len(out) != len(dst) {
		return fmt.Errorf("the snappy chunk does not unpack: %w", errors.Join(err))
	}
	// The sum is masked: rotated and with a constant added.
	if bits.RotateLeft32(crc32.Checksum(dst, castagnoli), -15)+0xa282ead8 != sum {
		return errors.New("the snappy chunk has a wrong checksum")
	}
	return nil
}

// chunkList is the index of a stream.
type chunkList struct {
	list     []snappyChunk
	length   uint64 // of what the chunks unpack to
	end      int64  // offset in the file behind the last chunk read
	broken   error  // why the stream ends before its length, nil if it does not
	brokenAt int64
}

// find returns the number of the chunk that has the byte at of the unpacked
// stream, or -1.
func (l *chunkList) find(at uint64) int {
	if at >= l.length {
		return -1
	}
	return sort.Search(len(l.list), func(i int) bool { return l.list[i].at > at }) - 1
}

// readChunks reads the heads of the chunks between two offsets of a file until
// they unpack to length bytes. The stream's own damage is in the result, an
// error is one of reading.
func readChunks(s store, off, end int64, length uint64) (*chunkList, error) {
	l := &chunkList{end: off}
	for l.length < length {
		c, n, err := readChunk(s, l.end, min(end, s.size()))
		var bad brokenChunk
		switch {
		case errors.As(err, &bad):
			l.broken, l.brokenAt = bad.error, l.end
			return l, nil
		case err != nil:
			return nil, err
		}
		l.end += n
		if plain := c.plain(); plain > 0 {
			c.at = l.length
			l.list = append(l.list, c)
			l.length += uint64(plain)
		}
	}
	return l, nil
}

// brokenChunk is an error of a stream, as opposed to one of reading it.
type brokenChunk struct{ error }

func broken(format string, args ...any) error { return brokenChunk{fmt.Errorf(format, args...)} }

// readChunk reads the head of the chunk at off and returns the bytes that it
// takes. A chunk without data has the length 0.
func readChunk(s store, off, end int64) (c snappyChunk, n int64, err error) {
	if end-off < snappyHead {
		return c, 0, brokenChunk{errCutShort}
	}
	const head = snappyHead + snappyCRC + binary.MaxVarintLen32
	var buf [head]byte
	data, err := s.view(off, int(min(head, end-off)), buf[:])
	if err != nil {
		return c, 0, err
	}
	kind, size := data[0], int64(data[1])|int64(data[2])<<8|int64(data[3])<<16
	n = snappyHead + size
	switch {
	case n > end-off:
		return c, 0, brokenChunk{errCutShort}
	case kind >= snappySkip:
		return c, n, nil
	case kind != snappyPacked && kind != snappyPlain:
		return c, 0, broken("a snappy chunk of the unknown type %#x", kind)
	case size < snappyCRC:
		return c, 0, broken("a snappy chunk of data of %d bytes", size)
	}
	c = snappyChunk{off: off + snappyHead, size: uint32(size), shape: uint32(size-snappyCRC) | snappyRaw}
	if kind == snappyPacked {
		plain, err := snappy.DecodedLen(data[snappyHead+snappyCRC : min(n, int64(len(data)))])
		if err != nil {
			return c, 0, broken("a snappy chunk without a length")
		}
		c.shape = uint32(min(plain, snappyChunkMax+1))
	}
	if c.plain() > snappyChunkMax {
		return c, 0, broken("a snappy chunk that unpacks to more than %d bytes", snappyChunkMax)
	}
	return c, n, nil
}
