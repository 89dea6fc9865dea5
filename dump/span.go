package dump

import (
	"cmp"
	"errors"
	"iter"
	"slices"
	"sort"
)

// spanImage is a dump whose file holds memory as it was, in stretches of any
// size and place: an ELF core, a LiME image, the memory of a VMware machine.
type spanImage struct {
	facts  Facts
	file   store   // the one with the memory
	others []store // further files of the dump, closed with it
	whole  []byte  // file, where it is mapped
	starts []uint64
	spans  []span // what is known of memory, ascending and disjoint
	cache  *pageCache
}

// span is a stretch of physical memory that comes from one place.
type span struct {
	start, end uint64
	off        uint64 // file offset of the byte at start
	kind       spanKind
}

type spanKind int

// The kinds of spans, the better ones first.
const (
	spanData     spanKind = iota // the file has the bytes
	spanExcluded                 // the writer has left them out on purpose
	spanCut                      // the file ends before the bytes
)

// newSpanImage makes an image of the memory in s, as yet without spans.
func newSpanImage(s store, facts Facts) *spanImage {
	img := &spanImage{facts: facts, file: s}
	if m, ok := s.(*mappedStore); ok {
		img.whole = m.data
	}
	return img
}

// setSpans says where memory is, and returns how many stretches the file has
// lost by being cut short.
func (e *spanImage) setSpans(c *spanClaims) (cut int) {
	e.spans = c.settle()
	e.starts = make([]uint64, len(e.spans))
	for i, sp := range e.spans {
		e.starts[i] = sp.start
		e.facts.MaxPhys = sp.end
	}
	return c.cut
}

// finish makes the image ready to read, once its spans and facts are known.
func (e *spanImage) finish(opt *options) {
	e.facts.finish()
	e.makeCache(opt)
}

func (e *spanImage) makeCache(opt *options) {
	e.cache = newPageCache(e.facts.PageSize, opt.cache, e.facts.MaxPhys/e.facts.PageSize+1)
}

// spanClaims collects what the headers of a file say about memory. Claims may
// overlap: the first one that has bytes in the file for an address wins.
type spanClaims struct {
	fileSize uint64
	pieces   []piece
	claims   []spanClaim // by piece.id
	cut      int         // claims that reach past the end of the file
}

type spanClaim struct{ addr, off uint64 }

// rankShift leaves room for the number of the claim behind its kind.
const rankShift = 40

// add claims that memory from addr on, memsz bytes of it, lies at off in the
// file as far as filesz bytes go, and was left out behind them. It splits that
// into what the file has, what it has lost, and what was left out.
func (c *spanClaims) add(addr, off, filesz, memsz uint64) {
	id := len(c.claims)
	c.claims = append(c.claims, spanClaim{addr, off})
	room := ^uint64(0) - addr
	filesz = min(filesz, room)
	memsz = min(max(memsz, filesz), room)
	held := uint64(0)
	if off < c.fileSize {
		held = min(filesz, c.fileSize-off)
	}
	put := func(from, to uint64, kind spanKind) {
		if from < to {
			c.pieces = append(c.pieces, piece{addr + from, addr + to, int64(kind)<<rankShift + int64(id), id})
		}
	}
	put(0, held, spanData)
	put(filesz, memsz, spanExcluded)
	put(held, filesz, spanCut)
	if held < filesz {
		c.cut++
	}
}

// settle gives each address to one claim.
func (c *spanClaims) settle() []span {
	pieces := resolve(c.pieces)
	spans := make([]span, len(pieces))
	for i, p := range pieces {
		from := c.claims[p.id]
		spans[i] = span{p.start, p.end, from.off + (p.start - from.addr), spanKind(p.rank >> rankShift)}
	}
	return spans
}

// find returns the span that holds addr, or nil.
func (e *spanImage) find(addr uint64) *span {
	i := e.firstAfter(addr) - 1
	if i < 0 || addr >= e.spans[i].end {
		return nil
	}
	return &e.spans[i]
}

// firstAfter is the index of the first span that starts behind addr.
func (e *spanImage) firstAfter(addr uint64) int {
	lo, hi := 0, len(e.starts)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if e.starts[mid] <= addr {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// failure is the error for memory that no span gives.
func (e *spanImage) failure(addr uint64, sp *span) *ReadError {
	switch {
	case sp == nil:
		return &ReadError{Addr: addr, Kind: ErrMissing, Offset: -1}
	case sp.kind == spanExcluded:
		return &ReadError{Addr: addr, Kind: ErrExcluded, Offset: -1}
	}
	return &ReadError{Addr: addr, Kind: ErrMissing, File: e.file.name(),
		Offset: e.file.locate(int64(sp.off + (addr - sp.start))), Err: errCutShort}
}

// ReadPhys implements Image.
func (e *spanImage) ReadPhys(buf []byte, addr uint64) (int, error) {
	done := 0
	for done < len(buf) {
		at := addr + uint64(done)
		sp := e.find(at)
		if sp == nil || sp.kind != spanData || at < addr {
			return done, e.failure(at, sp)
		}
		n := int(min(uint64(len(buf)-done), sp.end-at))
		off := int64(sp.off + (at - sp.start))
		got, err := e.fill(buf[done:done+n], off)
		done += got
		if err != nil {
			return done, e.ioError(at+uint64(got), off+int64(got), err)
		}
	}
	return done, nil
}

// fill copies bytes of the file into buf. Where some of them cannot be had it
// returns how many come before those.
func (e *spanImage) fill(buf []byte, off int64) (int, error) {
	err := Guard(func() error {
		data, err := e.file.view(off, len(buf), buf)
		if err == nil && &data[0] != &buf[0] {
			copy(buf, data)
		}
		return err
	})
	if err == nil {
		return len(buf), nil
	}
	if !partial(err) || len(buf) == 1 {
		return 0, err
	}
	half := len(buf) / 2
	n, err := e.fill(buf[:half], off)
	if err != nil {
		return n, err
	}
	n, err = e.fill(buf[half:], off+int64(half))
	return half + n, err
}

// partial tells whether a smaller read may succeed where one has failed: with
// gaps in a flattened file and lost ends of mapped ones, which cost nothing to
// ask again.
func partial(err error) bool { return errors.Is(err, errGap) || errors.Is(err, errFault) }

func (e *spanImage) ioError(addr uint64, off int64, err error) *ReadError {
	var fault *ReadError
	if errors.As(err, &fault) {
		err = fault.Err // Guard knows the place only, which is said here
	}
	return &ReadError{Addr: addr, Kind: ErrMissing, File: e.file.name(), Offset: e.file.locate(off), Err: err}
}

// ViewPhys implements Image.
func (e *spanImage) ViewPhys(addr uint64, n int) ([]byte, error) {
	if sp := e.find(addr); sp != nil && sp.kind == spanData && uint64(n) <= sp.end-addr && n >= 0 {
		off := sp.off + (addr - sp.start)
		if e.whole != nil {
			return e.whole[off : off+uint64(n) : off+uint64(n)], nil
		}
		if e.file.mapped() { // flattened: in one record, or copied from several
			return e.viewGuarded(addr, int64(off), n)
		}
		size := e.facts.PageSize
		if page := addr &^ (size - 1); page >= sp.start && page+size <= sp.end && addr+uint64(n) <= page+size {
			data, err := e.cachedView(addr / size)
			if err != nil {
				return nil, err
			}
			return data[addr-page:][:n:n], nil
		}
	}
	return copyPhys(e, addr, n)
}

func (e *spanImage) viewGuarded(addr uint64, off int64, n int) (data []byte, err error) {
	err = Guard(func() (err error) {
		data, err = e.file.view(off, n, nil)
		return err
	})
	if err != nil {
		return nil, e.ioError(addr, off, err)
	}
	return data, nil
}

// cachedView returns a page of a file that is not mapped, for the caller to keep.
func (e *spanImage) cachedView(pfn uint64) ([]byte, error) {
	if data := e.cache.view(pfn); data != nil {
		return data, nil
	}
	page, err := e.cache.fetch(pfn, func(page *cachedPage) error {
		if page.mem == nil {
			page.mem = make([]byte, e.facts.PageSize)
		}
		page.data = page.mem
		_, err := e.ReadPhys(page.mem, pfn*e.facts.PageSize)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page.keep(), nil
}

// Ranges implements Image.
func (e *spanImage) Ranges() iter.Seq[Range] {
	return func(yield func(Range) bool) {
		var r Range
		for i := range e.spans {
			sp := &e.spans[i]
			switch {
			case sp.kind != spanData:
			case r.End == sp.start && r.Size() > 0:
				r.End = sp.end
			default:
				if r.Size() > 0 && !yield(r) {
					return
				}
				r = Range{sp.start, sp.end}
			}
		}
		if r.Size() > 0 {
			yield(r)
		}
	}
}

// Facts implements Image.
func (e *spanImage) Facts() *Facts { return &e.facts }

// Close implements Image.
func (e *spanImage) Close() error {
	e.whole = nil
	return errors.Join(e.file.close(), closeAll(e.others))
}

// fileOrder returns the spans that the file has, by their place in it.
func (e *spanImage) fileOrder() []span {
	var list []span
	for _, sp := range e.spans {
		if sp.kind == spanData {
			list = append(list, sp)
		}
	}
	if !sort.SliceIsSorted(list, func(i, j int) bool { return list[i].off < list[j].off }) {
		slices.SortStableFunc(list, func(a, b span) int { return cmp.Compare(a.off, b.off) })
	}
	return list
}
