package dump

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// findBlocks finds the blocks of the file. As the length of a block stands
// behind it, the whole of a file is found from its end, with one look at each
// block. Only what cannot be found so, because the file is cut short or
// damaged, is gone through from the beginning, chunk by chunk.
func (a *avmlImage) findBlocks() error {
	from := a.blocksBackward()
	if from == 0 {
		return nil
	}
	tail := a.blocks
	a.blocks = nil
	why := a.blocksForward(from)
	if len(a.blocks)+len(tail) == 0 {
		return damaged(a.file, 0, "its first block cannot be used: "+why)
	}
	a.facts.Incomplete = true
	a.facts.warn("the image is damaged or cut short: %s", why)
	a.blocks = append(a.blocks, tail...)
	return nil
}

// blocksBackward finds blocks from the end of the file on, and returns the
// offset of the first of them: 0 if that is all.
func (a *avmlImage) blocksBackward() int64 {
	pos := a.file.size()
	for pos > 0 {
		b, err := a.blockBefore(pos)
		if err != nil {
			break
		}
		a.blocks = append(a.blocks, b)
		pos = b.off - limeHeaderSize
	}
	slices.Reverse(a.blocks)
	return pos
}

// blockBefore reads the block that ends at an offset.
func (a *avmlImage) blockBefore(end int64) (*avmlBlock, error) {
	data, err := a.file.view(end-avmlTrailer, avmlTrailer, nil)
	if err != nil {
		return nil, err
	}
	size := clampOff(binary.LittleEndian.Uint64(data))
	off := end - avmlTrailer - size
	if size < int64(len(snappyMagic)) || off < limeHeaderSize {
		return nil, fmt.Errorf("offset %#x: no length of a block where one should be", end-avmlTrailer)
	}
	b, err := a.blockAt(off - limeHeaderSize)
	if err != nil {
		return nil, err
	}
	b.size = size
	return b, nil
}

// blockAt reads the header of a block, and the beginning of its stream.
func (a *avmlImage) blockAt(pos int64) (*avmlBlock, error) {
	data, err := a.file.view(pos, limeHeaderSize+len(snappyMagic), nil)
	if err != nil {
		return nil, fmt.Errorf("offset %#x: %w", pos, errCutShort)
	}
	f := fields{data: data, order: binary.LittleEndian}
	start, last := f.u64(8), f.u64(16)
	switch {
	case !bytes.HasPrefix(data, avmlMagic):
		return nil, fmt.Errorf("offset %#x: no header of a block where one should be", pos)
	case last < start || last == ^uint64(0):
		return nil, fmt.Errorf("offset %#x: a block that ends at %#x and begins at %#x", pos, last, start)
	case !bytes.HasSuffix(data, snappyMagic):
		return nil, fmt.Errorf("offset %#x: no snappy stream where one should be", pos)
	}
	return &avmlBlock{start: start, end: last + 1, off: pos + limeHeaderSize}, nil
}

// blocksForward finds the blocks before the offset limit by going through their
// chunks, and says what is wrong with the file.
func (a *avmlImage) blocksForward(limit int64) (why string) {
	note := func(err error) {
		if why == "" {
			why = err.Error()
		}
	}
	for pos := int64(0); pos < limit; {
		b, err := a.blockAt(pos)
		if err != nil {
			note(err)
			if pos = a.nextBlock(pos+1, limit); pos < 0 {
				break
			}
			continue
		}
		chunks, err := readChunks(a.file, b.off, limit, b.end-b.start)
		if err != nil {
			note(err)
			break
		}
		a.blocks = append(a.blocks, b)
		b.size = chunks.end - b.off
		pos = chunks.end + avmlTrailer
		if chunks.broken != nil {
			note(fmt.Errorf("offset %#x: %w", chunks.brokenAt, chunks.broken))
			if pos = a.nextBlock(chunks.brokenAt, limit); pos < 0 {
				b.size = limit - b.off
				break
			}
			b.size = pos - b.off
		}
	}
	if why == "" {
		why = "the length behind a block is missing or wrong"
	}
	return why
}

// nextBlock looks for the header of a block between two offsets; -1 if there is
// none.
func (a *avmlImage) nextBlock(from, limit int64) int64 {
	const window = 1 << 20
	const overlap = limeHeaderSize + 10
	for from < limit {
		n := min(window, limit-from)
		data, err := a.file.view(from, int(n), nil)
		if err != nil {
			return -1
		}
		for at := 0; ; at++ {
			i := bytes.Index(data[at:], avmlMagic)
			if i < 0 {
				break
			}
			at += i
			if _, err := a.blockAt(from + int64(at)); err == nil {
				return from + int64(at)
			}
		}
		if n < window {
			return -1
		}
		from += n - overlap
	}
	return -1
}
