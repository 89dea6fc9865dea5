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
	img.cache = newPageCache(h.blockSize, opt.cache, pages, img.loadPage)
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
	p.present = newBitmap(data, p.start, p.end)
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
		if pfn < k.parts[0].header.maxMapNr {
			e.Err = errors.New("the part of the split dump that should hold it was not given")
		}
		return e
	}
	if known := p.known(); pfn/8 < uint64(len(known)) && known[pfn/8]>>(pfn%8)&1 != 0 {
		e.Kind = ErrExcluded
	}
	return e
}

// page returns the bytes of a page, and whether they lie in a mapping, where
// touching them can fault.
func (k *kdumpImage) page(pfn uint64) (data []byte, mapped bool, err error) {
	if data := k.cache.get(pfn); data != nil {
		return data, false, nil
	}
	return k.missedPage(pfn)
}

// missedPage finds a page that is not in the cache. Pages that lie unpacked in
// a mapping need no place in it.
func (k *kdumpImage) missedPage(pfn uint64) (data []byte, mapped bool, err error) {
	err = Guard(func() error {
		p, d, err := k.locate(pfn)
		if err != nil {
			return err
		}
		if d.codec() == CodecRaw && p.file.mapped() {
			data, err = p.rawPage(d, k.pageSize)
			return k.pageError(pfn, p, d, err)
		}
		return nil
	})
	if data != nil || err != nil {
		return data, true, err
	}
	k.ahead.missed(pfn)
	data, err = k.cache.fetch(pfn)
	return data, false, err
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

// loadPage unpacks a page into memory of its own, for the cache.
func (k *kdumpImage) loadPage(pfn uint64) (data []byte, err error) {
	dec := k.decoders.Get().(*decoder)
	err = Guard(func() error {
		p, d, err := k.locate(pfn)
		if err != nil {
			return err
		}
		if z := p.zero.Load(); z != nil && z.desc == d {
			data = z.data
			return nil
		}
		buf := k.cache.newPage(k.pageSize, &dec.chunk)
		if err := p.unpack(dec, d, buf); err != nil {
			return k.pageError(pfn, p, d, err)
		}
		if isZero(buf) {
			p.zero.CompareAndSwap(nil, &zeroPage{d, buf})
		}
		data = buf
		return nil
	})
	k.decoders.Put(dec)
	return data, err
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
		data, mapped, err := k.page(at >> k.pageShift)
		if err != nil {
			return done, errorAt(err, at)
		}
		data = data[at&uint64(k.pageSize-1):]
		if !mapped {
			done += copy(buf[done:], data)
			continue
		}
		n, err := guardedCopy(buf[done:], data, at)
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// ViewPhys implements Image.
func (k *kdumpImage) ViewPhys(addr uint64, n int) ([]byte, error) {
	at := addr & uint64(k.pageSize-1)
	if n < 0 || at+uint64(n) > uint64(k.pageSize) {
		return copyPhys(k, addr, n)
	}
	data, _, err := k.page(addr >> k.pageShift)
	if err != nil {
		return nil, errorAt(err, addr)
	}
	return data[at:][:n:n], nil
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
