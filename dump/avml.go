package dump

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"sync/atomic"
)

// A compressed AVML image (AVML src/image.rs, version 2) is a sequence of
// blocks: the header of a LiME range with another magic, the memory of the
// range as a snappy stream in frames, and the length of that stream in 64 bits.
// avml cuts ranges into blocks of 16 MiB and leaves out those that are all
// zeros; its first versions wrote one block for a range.
const (
	avmlVersion = 2
	avmlTrailer = 8
)

var avmlMagic = []byte("AVML\x02\x00\x00\x00")

// FormatAVML is the compressed image that avml writes (AVML src/image.rs, version
// 2). It has no memory where 16 MiB were all zeros: reads of that fail with
// ErrMissing, as the image does not tell it from what the machine did not have.
const FormatAVML Format = "AVML"

func isAVML(head []byte) bool { return bytes.HasPrefix(head, []byte("AVML")) }

// avmlImage is a compressed AVML image. Where blocks overlap, the first in the
// file is read.
type avmlImage struct {
	facts  Facts
	file   store
	blocks []*avmlBlock // in file order
	spans  []avmlSpan   // of memory, ascending and disjoint
	cache  *pageCache   // of unpacked chunks
}

// avmlBlock is one block of the file.
type avmlBlock struct {
	start, end uint64 // physical addresses
	off, size  int64  // of the snappy stream in the file

	index atomic.Pointer[chunkList] // of the stream, made when first needed
}

// avmlSpan is a stretch of memory that comes from one block.
type avmlSpan struct {
	start, end uint64
	block      int
}

func openAVML(s store, opt *options) (Image, error) {
	a := &avmlImage{facts: rawFacts(s, FormatAVML, binary.LittleEndian), file: s}
	if v := (fields{data: headOf(s), order: binary.LittleEndian}).u32(4); v != avmlVersion {
		return nil, &FileError{File: s.name(), Offset: 4, Kind: ErrUnsupported,
			What: fmt.Sprintf("an AVML image of version %d, where only 2 is known", v)}
	}
	if err := a.findBlocks(); err != nil {
		return nil, err
	}
	pieces := make([]piece, len(a.blocks))
	for i, b := range a.blocks {
		// What is more than the stream can hold is not there, and must not
		// make anybody go through it.
		if most := snappyRatio * uint64(b.size); b.end-b.start > most {
			b.end = b.start + most
			a.facts.warn("the block at offset %#x cannot hold all that its header says", b.off-limeHeaderSize)
		}
		pieces[i] = piece{b.start, b.end, int64(i), i}
	}
	total := uint64(0)
	for _, p := range resolve(pieces) {
		a.spans = append(a.spans, avmlSpan{p.start, p.end, p.id})
		a.facts.MaxPhys = p.end
		total += p.end - p.start
	}
	a.facts.finish()
	a.cache = newPageCache(snappyChunkMax, opt.cache, total/snappyChunkMax+uint64(len(a.blocks)))
	return a, nil
}

// find returns the index of the span that holds addr, or -1.
func (a *avmlImage) find(addr uint64) int {
	i := sort.Search(len(a.spans), func(i int) bool { return a.spans[i].end > addr })
	if i == len(a.spans) || addr < a.spans[i].start {
		return -1
	}
	return i
}

// avmlPlace is where an address of memory is in the cache.
type avmlPlace struct {
	key, at uint64 // the chunk, and the byte in it
	room    uint64 // bytes from there on to the end of the chunk or of the span
}

// place finds an address of memory.
func (a *avmlImage) place(addr uint64) (avmlPlace, error) {
	i := a.find(addr)
	if i < 0 {
		return avmlPlace{}, &ReadError{Addr: addr, Kind: ErrMissing, Offset: -1}
	}
	sp := a.spans[i]
	b := a.blocks[sp.block]
	chunks, err := a.chunks(b)
	if err != nil {
		return avmlPlace{}, a.ioError(addr, b.off, err)
	}
	n := chunks.find(addr - b.start)
	if n < 0 {
		return avmlPlace{}, a.brokenError(addr, chunks)
	}
	c := &chunks.list[n]
	at := addr - b.start - c.at
	return avmlPlace{uint64(sp.block)<<32 | uint64(n), at, min(uint64(c.plain())-at, sp.end-addr)}, nil
}

// brokenError is the error for memory behind the place where a block's stream
// breaks off.
func (a *avmlImage) brokenError(addr uint64, chunks *chunkList) *ReadError {
	e := a.ioError(addr, chunks.brokenAt, chunks.broken)
	if !errors.Is(chunks.broken, errCutShort) {
		e.Kind = ErrCorrupt
	}
	return e
}

// chunks returns the index of a block's stream.
func (a *avmlImage) chunks(b *avmlBlock) (*chunkList, error) {
	if list := b.index.Load(); list != nil {
		return list, nil
	}
	var list *chunkList
	err := Guard(func() (err error) {
		list, err = readChunks(a.file, b.off, b.off+b.size, b.end-b.start)
		return err
	})
	if err != nil {
		return nil, err
	}
	b.index.Store(list) // by whoever comes last: they are the same
	return list, nil
}

// ReadPhys implements Image.
func (a *avmlImage) ReadPhys(buf []byte, addr uint64) (int, error) {
	done := 0
	for done < len(buf) {
		at := addr + uint64(done)
		if at < addr {
			return done, &ReadError{Addr: addr, Kind: ErrMissing, Offset: -1}
		}
		p, err := a.place(at)
		if err != nil {
			return done, err
		}
		n, err := a.readChunk(buf[done:][:min(uint64(len(buf)-done), p.room)], p)
		if err != nil {
			return done, errorAt(err, at)
		}
		done += n
	}
	return done, nil
}

func (a *avmlImage) readChunk(buf []byte, p avmlPlace) (int, error) {
	if n, ok := a.cache.read(buf, p.key, p.at); ok {
		return n, nil
	}
	chunk, err := a.fetch(p.key)
	if err != nil {
		return 0, err
	}
	return chunk.finish(buf, p.at), nil
}

// ViewPhys implements Image.
func (a *avmlImage) ViewPhys(addr uint64, n int) ([]byte, error) {
	if n < 0 {
		return copyPhys(a, addr, n) // which says what is wrong
	}
	p, err := a.place(addr)
	if err != nil {
		return nil, err
	}
	if uint64(n) > p.room {
		return copyPhys(a, addr, n)
	}
	data := a.cache.view(p.key)
	if data == nil {
		chunk, err := a.fetch(p.key)
		if err != nil {
			return nil, errorAt(err, addr)
		}
		data = chunk.keep()
	}
	return data[p.at:][:n:n], nil
}

// fetch unpacks a chunk into the cache, and pins it. The key has the number of the block
// in its upper half.
func (a *avmlImage) fetch(key uint64) (*cachedPage, error) {
	return a.cache.fetch(key, func(page *cachedPage) error {
		b := a.blocks[key>>32]
		chunks, err := a.chunks(b)
		if err != nil {
			return a.ioError(b.start, b.off, err)
		}
		c := chunks.list[uint32(key)]
		if n := int(c.plain()); cap(page.mem) < n {
			page.mem = make([]byte, n)
		}
		page.data = page.mem[:c.plain()]
		return a.unpackChunk(page.data, b, c)
	})
}

// unpackChunk unpacks a chunk into dst, which has its unpacked length. Errors
// are *ReadError values of the chunk's first address.
func (a *avmlImage) unpackChunk(dst []byte, b *avmlBlock, c snappyChunk) error {
	var broken error
	err := Guard(func() error {
		packed, err := a.file.view(c.off, int(c.size), nil)
		if err == nil {
			broken = c.unpack(dst, packed)
		}
		return err
	})
	switch {
	case err != nil:
		return a.ioError(b.start+c.at, c.off, err)
	case broken != nil:
		return &ReadError{Addr: b.start + c.at, Kind: ErrCorrupt, File: a.file.name(), Offset: a.file.locate(c.off), Err: broken}
	}
	return nil
}

func (a *avmlImage) ioError(addr uint64, off int64, err error) *ReadError {
	return &ReadError{Addr: addr, Kind: ErrMissing, File: a.file.name(), Offset: a.file.locate(off), Err: err}
}

// Ranges implements Image. A block whose chunks were found to be damaged still
// counts as present.
func (a *avmlImage) Ranges() iter.Seq[Range] {
	return func(yield func(Range) bool) {
		var r Range
		for _, sp := range a.spans {
			if r.End == sp.start && r.Size() > 0 {
				r.End = sp.end
				continue
			}
			if r.Size() > 0 && !yield(r) {
				return
			}
			r = Range{sp.start, sp.end}
		}
		if r.Size() > 0 {
			yield(r)
		}
	}
}

// stat implements counter. A page that a range has only in part counts as
// present.
func (a *avmlImage) stat(ctx context.Context) (*Stats, error) {
	st := &Stats{}
	size := a.facts.PageSize
	next := uint64(0) // first page that is not counted yet
	for _, sp := range a.spans {
		first, end := sp.start/size, (sp.end-1)/size+1
		st.Present += end - max(first, next)
		next = end
	}
	for _, b := range a.blocks {
		st.Packed += uint64(b.size)
	}
	return st, ctx.Err()
}

// Facts implements Image.
func (a *avmlImage) Facts() *Facts { return &a.facts }

// Close implements Image.
func (a *avmlImage) Close() error { return a.file.close() }

// fileOrder returns the spans by their place in the file.
func (a *avmlImage) fileOrder() []avmlSpan {
	list := slices.Clone(a.spans)
	slices.SortStableFunc(list, func(x, y avmlSpan) int { return cmp.Compare(x.block, y.block) })
	return list
}
