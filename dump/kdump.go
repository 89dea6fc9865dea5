package dump

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"sort"
	"sync"
	"sync/atomic"
)

// kdumpImage is a kdump-compressed dump: one file, or the parts of a split one.
type kdumpImage struct {
	facts     Facts
	parts     []*kdumpPart // by their first page; disjoint
	pageSize  int
	pageShift uint
	cache     *pageCache
	ahead     *readAhead
	decoders  sync.Pool // of *decoder
}

// kdumpPart is one file: the pages [start, end) of the machine's memory.
type kdumpPart struct {
	file       store
	header     *kdumpHeader
	start, end uint64        // PFNs
	present    *bitmap       // the 2nd bitmap: pages in the dump
	whole      []byte        // the same, of all parts: each has the bitmaps of all
	allPresent uint64        // pages in the dump, in all parts of it
	known      func() []byte // the 1st bitmap: pages that the machine has
	descOff    int64         // file offset of the first page descriptor
	descs      *descCache    // for files that are not mapped
	cut        bool          // whether pages are behind the end of the file
	zero       atomic.Pointer[zeroPage]
}

// zeroPage is the page of zeros that many descriptors of a file share.
type zeroPage struct {
	desc pageDesc
	data []byte
}

// openKdump opens kdump-compressed files that belong together.
func openKdump(stores []store, opt *options) (Image, error) {
	parts := make([]*kdumpPart, 0, len(stores))
	for _, s := range stores {
		p, err := openKdumpPart(s)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	parts, err := joinParts(parts)
	if err != nil {
		return nil, err
	}
	h := parts[0].header
	img := &kdumpImage{
		parts:     parts,
		pageSize:  int(h.blockSize),
		pageShift: uint(bits.TrailingZeros64(h.blockSize)),
	}
	img.decoders.New = func() any { return new(decoder) }
	img.takeFacts()
	pages := uint64(0)
	for _, p := range parts {
		pages += p.present.total
		p.useDescCache(opt)
	}
	img.cache = newPageCache(h.blockSize, opt.cache, pages)
	img.ahead = newReadAhead(img)
	return img, nil
}

// openKdumpPart reads the headers of one file and indexes its bitmap.
func openKdumpPart(s store) (*kdumpPart, error) {
	h, err := readKdumpHeader(s)
	if err != nil {
		return nil, err
	}
	p := &kdumpPart{file: s, header: h, start: h.startPFN, end: h.endPFN}
	maps := int64((1 + h.subBlocks) * h.blockSize)
	half := int64(h.mapBlocks * h.blockSize / 2)
	p.descOff = maps + 2*half
	pagesFrom(s, p.descOff)
	if half > s.heap() || half > math.MaxInt/8 {
		return nil, damaged(s, maps, "the bitmaps are larger than all that the file holds")
	}
	data, err := s.view(maps+half, int(half), nil)
	if err != nil {
		return nil, damaged(s, maps+half, "the 2nd bitmap cannot be read: "+err.Error())
	}
	p.whole, p.present = data, newBitmap(data, p.start, p.end)
	p.allPresent = p.present.total
	if h.split {
		p.allPresent = newBitmap(data, 0, h.maxMapNr).total
	}
	p.known = sync.OnceValue(func() []byte {
		data, _ := s.view(maps, int(half), nil)
		return data
	})
	return p, nil
}

// part returns the file that should hold a page, or nil.
func (k *kdumpImage) part(pfn uint64) *kdumpPart {
	if len(k.parts) == 1 {
		if p := k.parts[0]; pfn >= p.start && pfn < p.end {
			return p
		}
		return nil
	}
	i := sort.Search(len(k.parts), func(i int) bool { return pfn < k.parts[i].end })
	if i == len(k.parts) || pfn < k.parts[i].start {
		return nil
	}
	return k.parts[i]
}

// absent is the error for a page that is in none of the files.
func (k *kdumpImage) absent(pfn uint64) *ReadError {
	e := &ReadError{Addr: pfn << k.pageShift, Kind: ErrMissing, Offset: -1}
	p := k.part(pfn)
	if p == nil {
		if p = k.parts[0]; hasBit(p.whole, pfn) {
			e.Err = errors.New("the part of the split dump that should hold it was not given")
			return e
		}
	}
	if hasBit(p.known(), pfn) {
		e.Kind = ErrExcluded
	}
	return e
}

// locate finds the file and the descriptor of a page.
func (k *kdumpImage) locate(pfn uint64) (*kdumpPart, pageDesc, error) {
	p := k.part(pfn)
	if p == nil || !p.present.has(pfn) {
		return nil, pageDesc{}, k.absent(pfn)
	}
	index := p.present.rank(pfn)
	d, err := p.desc(index)
	if err != nil {
		return nil, d, &ReadError{Addr: pfn << k.pageShift, Kind: ErrMissing, File: p.file.name(),
			Offset: p.file.locate(p.descOff + int64(index*descSize)), Err: errCutShort}
	}
	return p, d, nil
}

// packedPage is where a page is in the files.
type packedPage struct {
	part *kdumpPart
	desc pageDesc
}

// search finds a page: data is the page itself if it lies unpacked in a mapping, where
// touching it can fault. Such pages need no place in the cache.
func (k *kdumpImage) search(pfn uint64) (at packedPage, data []byte, err error) {
	err = Guard(func() error {
		p, d, err := k.locate(pfn)
		if err != nil {
			return err
		}
		if at = (packedPage{p, d}); d.codec() == CodecRaw && p.file.mapped() {
			data, err = p.rawPage(d, k.pageSize)
			return k.pageError(pfn, p, d, err)
		}
		return nil
	})
	return at, data, err
}

// cached returns a page that is not in the cache, or was not a moment ago, pinned.
func (k *kdumpImage) cached(pfn uint64, at packedPage) (*cachedPage, error) {
	return k.cache.fetch(pfn, func(page *cachedPage) error {
		if data, ok := at.part.zeroPage(at.desc); ok {
			page.data = data
			return nil
		}
		dec := k.decoders.Get().(*decoder)
		defer k.decoders.Put(dec)
		if page.mem == nil {
			page.mem = k.cache.newPage(k.pageSize, &dec.chunk)
		}
		page.data = page.mem
		return Guard(func() error {
			return k.pageError(pfn, at.part, at.desc, at.part.unpackInto(dec, at.desc, page.mem))
		})
	})
}

// zeroPage returns the page of zeros that many descriptors of a file share, if d is one
// of those and the page is known.
func (p *kdumpPart) zeroPage(d pageDesc) (data []byte, ok bool) {
	if z := p.zero.Load(); z != nil && z.desc == d {
		return z.data, true
	}
	return nil, false
}

// pageOnce returns the page of a descriptor around the cache: from a mapping, the shared
// page of zeros, or buf, filled.
func (p *kdumpPart) pageOnce(dec *decoder, d pageDesc, buf []byte) ([]byte, error) {
	if data, ok := p.zeroPage(d); ok {
		return data, nil
	}
	if d.codec() == CodecRaw && p.file.mapped() {
		return p.rawPage(d, len(buf))
	}
	if err := p.unpackInto(dec, d, buf); err != nil {
		return nil, err
	}
	return buf, nil
}

// unpackInto is unpack, and remembers the descriptor of a page of zeros.
func (p *kdumpPart) unpackInto(dec *decoder, d pageDesc, dst []byte) error {
	err := p.unpack(dec, d, dst)
	if err == nil && p.zero.Load() == nil && isZero(dst) {
		p.zero.CompareAndSwap(nil, &zeroPage{d, make([]byte, len(dst))})
	}
	return err
}

// unpack reads the page of a descriptor into dst.
func (p *kdumpPart) unpack(dec *decoder, d pageDesc, dst []byte) error {
	src, err := p.packed(d, len(dst), dec.buf)
	if err != nil {
		return err
	}
	if !p.file.mapped() {
		dec.buf = src
	}
	return dec.decode(d.codec(), dst, src)
}

// packed returns the bytes of a page as they are in the file.
func (p *kdumpPart) packed(d pageDesc, pageSize int, buf []byte) ([]byte, error) {
	if err := d.check(pageSize); err != nil {
		return nil, err
	}
	return p.file.view(clampOff(d.off), int(d.size), buf)
}

// rawPage returns a page that lies unpacked in a mapped file.
func (p *kdumpPart) rawPage(d pageDesc, pageSize int) ([]byte, error) {
	data, err := p.packed(d, pageSize, nil)
	if err == nil && len(data) != pageSize {
		err = fmt.Errorf("an unpacked page of %d bytes where a page has %d", len(data), pageSize)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// pageError words why the page of a descriptor cannot be had.
func (k *kdumpImage) pageError(pfn uint64, p *kdumpPart, d pageDesc, err error) error {
	if err == nil {
		return nil
	}
	e := &ReadError{Addr: pfn << k.pageShift, Kind: ErrCorrupt, File: p.file.name(), Offset: int64(d.off), Err: err}
	switch {
	case errors.Is(err, errNotWritten), errors.Is(err, errGap), errors.Is(err, errRead):
		e.Kind = ErrMissing
	case !inStore(clampOff(d.off), int64(d.size), p.file.size()):
		e.Kind, e.Err = ErrMissing, errCutShort
		if !p.cut || p.farBeyond(d) {
			e.Kind, e.Err = ErrCorrupt, fmt.Errorf("its descriptor points to offset %#x, beyond the end of the file", d.off)
		}
	}
	e.Offset = p.file.locate(int64(d.off))
	if !inStore(clampOff(d.off), 0, p.file.size()) {
		// What is wrong is the descriptor.
		e.Offset = p.file.locate(p.descOff + int64(p.present.rank(pfn)*descSize))
	}
	return e
}

var zeros [4096]byte

// isZero tells whether a page holds zeros only.
func isZero(data []byte) bool {
	for len(data) >= len(zeros) {
		if !bytes.Equal(data[:len(zeros)], zeros[:]) {
			return false
		}
		data = data[len(zeros):]
	}
	return bytes.Equal(data, zeros[:len(data)])
}

// ReadPhys implements Image.
func (k *kdumpImage) ReadPhys(buf []byte, addr uint64) (int, error) {
	done := 0
	for done < len(buf) {
		at := addr + uint64(done)
		if at < addr {
			return done, &ReadError{Addr: addr, Kind: ErrMissing, Offset: -1}
		}
		n, err := k.readPage(buf[done:], at)
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// readPage copies the memory at a physical address up to the end of its page.
func (k *kdumpImage) readPage(buf []byte, addr uint64) (int, error) {
	pfn, at := addr>>k.pageShift, addr&uint64(k.pageSize-1)
	if n, ok := k.cache.read(buf, pfn, at); ok {
		return n, nil
	}
	place, data, err := k.search(pfn)
	switch {
	case data != nil:
		return guardedCopy(buf, data[at:], addr)
	case err == nil:
		k.ahead.missed(pfn)
		page, err := k.cached(pfn, place)
		if err == nil {
			return page.finish(buf, at), nil
		}
		return 0, errorAt(err, addr)
	}
	return 0, errorAt(err, addr)
}

// ViewPhys implements Image.
func (k *kdumpImage) ViewPhys(addr uint64, n int) ([]byte, error) {
	pfn, at := addr>>k.pageShift, addr&uint64(k.pageSize-1)
	if n < 0 || at+uint64(n) > uint64(k.pageSize) {
		return copyPhys(k, addr, n)
	}
	data := k.cache.view(pfn)
	if data == nil {
		var err error
		if data, err = k.missedView(pfn); err != nil {
			return nil, errorAt(err, addr)
		}
	}
	return data[at:][:n:n], nil
}

// missedView returns a page that is not in the cache, for the caller to keep.
func (k *kdumpImage) missedView(pfn uint64) ([]byte, error) {
	place, data, err := k.search(pfn)
	if data != nil || err != nil {
		return data, err
	}
	k.ahead.missed(pfn)
	page, err := k.cached(pfn, place)
	if err != nil {
		return nil, err
	}
	return page.keep(), nil
}

// Ranges implements Image.
func (k *kdumpImage) Ranges() iter.Seq[Range] {
	return func(yield func(Range) bool) {
		var r Range
		for _, p := range k.parts {
			for pfn := p.start; ; {
				start, end, ok := p.nextRun(pfn)
				if !ok {
					break
				}
				pfn = end
				next := Range{start << k.pageShift, end << k.pageShift}
				if r.Size() > 0 && r.End == next.Start {
					r.End = next.End
					continue
				}
				if r.Size() > 0 && !yield(r) {
					return
				}
				r = next
			}
		}
		if r.Size() > 0 {
			yield(r)
		}
	}
}

// nextRun finds the first run of present pages from pfn on. There is none any
// more if the file was cut short meanwhile.
func (p *kdumpPart) nextRun(pfn uint64) (start, end uint64, ok bool) {
	err := Guard(func() error {
		start = p.present.next(pfn)
		end = p.present.nextClear(start)
		return nil
	})
	return start, end, err == nil && start < p.end
}

// Facts implements Image.
func (k *kdumpImage) Facts() *Facts { return &k.facts }

// Close implements Image.
func (k *kdumpImage) Close() error {
	k.ahead.stop()
	var errs []error
	for _, p := range k.parts {
		errs = append(errs, p.file.close())
	}
	return errors.Join(errs...)
}
