package dump

import (
	"cmp"
	"debug/elf"
	"fmt"
	"iter"
	"slices"
	"sort"
)

// elfImage is an ELF core file of physical memory: /proc/vmcore or a copy of
// it, makedumpfile -E, or QEMU's dump-guest-memory.
//
// Where PT_LOAD segments overlap, the first one in the program headers that
// has file bytes for an address is read. Memory of a segment that has no bytes
// in the file (p_filesz < p_memsz) counts as excluded, not as zeros: that is
// how makedumpfile -E writes the pages that it filtered out.
type elfImage struct {
	facts  Facts
	file   store
	whole  []byte // the file, where it is mapped
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
	spanExcluded                 // p_memsz goes beyond p_filesz
	spanCut                      // the file ends before the bytes
)

func openELF(s store, opt *options) (Image, error) {
	h, err := readELFHeader(s)
	if err != nil {
		return nil, err
	}
	img := &elfImage{file: s}
	img.facts = Facts{
		Files:     []string{s.name()},
		Format:    FormatELF,
		Variant:   storeVariant(s),
		Arch:      elfArch(h.machine),
		ByteOrder: h.order,
		Is64:      h.is64,
		DumpLevel: -1,
	}
	if m, ok := s.(*mappedStore); ok {
		img.whole = m.data
	}
	if err := img.readSegments(h); err != nil {
		return nil, err
	}
	if img.facts.xen {
		return nil, &FileError{File: s.name(), Offset: -1, Kind: ErrUnsupported,
			What: "a dump of a Xen hypervisor; extract the domain's memory with makedumpfile -X first"}
	}
	img.facts.finish()
	img.cache = newPageCache(img.facts.PageSize, opt.cacheBytes, img.facts.MaxPhys/img.facts.PageSize+1, img.loadPage)
	return img, nil
}

// readSegments takes notes and memory from the program headers.
func (e *elfImage) readSegments(h *elfHeader) error {
	var (
		loads  []segment
		pieces []piece
		cut    int
		noteSz int64
	)
	err := h.segments(e.file, func(p segment) {
		switch p.kind {
		case elf.PT_NOTE:
			noteSz += e.readNotes(p, noteSz)
		case elf.PT_LOAD:
			n := len(pieces)
			pieces = e.addLoad(pieces, p, len(loads))
			if len(pieces) > n && pieces[len(pieces)-1].rank >= int(spanCut)<<rankShift {
				cut++
			}
			loads = append(loads, p)
		}
	})
	if err != nil {
		return err
	}
	if len(loads) == 0 {
		return damaged(e.file, h.phoff, "the core file has no PT_LOAD segment, so no memory")
	}
	if cut > 0 {
		e.facts.Incomplete = true
		e.facts.warn("the file is cut short: %d of its %d segments reach past its end (%d bytes)", cut, len(loads), e.file.size())
	}
	for _, p := range resolve(pieces) {
		e.starts = append(e.starts, p.start)
		load := loads[p.id]
		e.spans = append(e.spans, span{p.start, p.end, load.off + (p.start - load.paddr), spanKind(p.rank >> rankShift)})
	}
	if len(e.spans) == 0 {
		return damaged(e.file, h.phoff, fmt.Sprintf("none of the %d segments describes any memory", len(loads)))
	}
	e.facts.MaxPhys = e.spans[len(e.spans)-1].end
	return nil
}

// rankShift leaves room for the number of the segment behind its kind.
const rankShift = 40

// addLoad splits a segment into the stretches that the file has, that it has
// lost, and that were left out.
func (e *elfImage) addLoad(pieces []piece, p segment, id int) []piece {
	if p.paddr == ^uint64(0) {
		return pieces // /proc/kcore: the kernel does not know an address
	}
	room := ^uint64(0) - p.paddr
	filesz := min(p.filesz, room)
	memsz := min(max(p.memsz, filesz), room)
	held := uint64(0)
	if size := uint64(e.file.size()); p.off < size {
		held = min(filesz, size-p.off)
	}
	add := func(from, to uint64, kind spanKind) {
		if from < to {
			pieces = append(pieces, piece{p.paddr + from, p.paddr + to, int(kind)<<rankShift + id, id})
		}
	}
	add(0, held, spanData)
	add(filesz, memsz, spanExcluded)
	add(held, filesz, spanCut)
	return pieces
}

// readNotes reads a PT_NOTE segment and returns how many bytes it took, before
// being those taken already.
func (e *elfImage) readNotes(p segment, before int64) int64 {
	off, n := clampOff(p.off), int64(min(p.filesz, 1<<62))
	if !inStore(off, n, e.file.size()) {
		e.facts.Incomplete = true
		e.facts.warn("the file is cut short: its notes at offset %#x reach past its end", p.off)
		n = max(0, min(n, e.file.size()-off))
		if off < 0 || n == 0 {
			return 0
		}
	}
	if n > e.file.heap()-before {
		e.facts.warn("the note segments claim the same bytes many times; the ones after the first are ignored")
		return 0
	}
	data, err := e.file.view(off, int(n), nil)
	if err != nil {
		e.facts.warn("the notes cannot be read: %v", err)
		return 0
	}
	e.facts.takeNotes(data)
	return n
}

// find returns the span that holds addr, or nil.
func (e *elfImage) find(addr uint64) *span {
	i := e.firstAfter(addr) - 1
	if i < 0 || addr >= e.spans[i].end {
		return nil
	}
	return &e.spans[i]
}

// firstAfter is the index of the first span that starts behind addr.
func (e *elfImage) firstAfter(addr uint64) int {
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
func (e *elfImage) failure(addr uint64, sp *span) *ReadError {
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
func (e *elfImage) ReadPhys(buf []byte, addr uint64) (int, error) {
	if e.whole == nil {
		return e.readSpans(buf, addr)
	}
	n := 0
	return n, Guard(func() (err error) {
		n, err = e.readSpans(buf, addr)
		return err
	})
}

func (e *elfImage) readSpans(buf []byte, addr uint64) (int, error) {
	done := 0
	for done < len(buf) {
		at := addr + uint64(done)
		if at < addr {
			return done, &ReadError{Addr: addr, Kind: ErrMissing, Offset: -1}
		}
		sp := e.find(at)
		if sp == nil || sp.kind != spanData {
			return done, e.failure(at, sp)
		}
		n := int(min(uint64(len(buf)-done), sp.end-at))
		off := int64(sp.off + (at - sp.start))
		data, err := e.file.view(off, n, buf[done:done+n])
		if err != nil {
			return done, e.ioError(at, off, err)
		}
		if &data[0] != &buf[done] {
			copy(buf[done:], data)
		}
		done += n
	}
	return done, nil
}

func (e *elfImage) ioError(addr uint64, off int64, err error) *ReadError {
	return &ReadError{Addr: addr, Kind: ErrMissing, File: e.file.name(), Offset: e.file.locate(off), Err: err}
}

// ViewPhys implements Image.
func (e *elfImage) ViewPhys(addr uint64, n int) ([]byte, error) {
	if sp := e.find(addr); sp != nil && sp.kind == spanData && uint64(n) <= sp.end-addr && n >= 0 {
		off := sp.off + (addr - sp.start)
		if e.whole != nil {
			return e.whole[off : off+uint64(n) : off+uint64(n)], nil
		}
		size := e.facts.PageSize
		if page := addr &^ (size - 1); page >= sp.start && page+size <= sp.end && addr+uint64(n) <= page+size {
			data, err := e.cache.page(addr / size)
			if err != nil {
				return nil, err
			}
			return data[addr-page:][:n:n], nil
		}
	}
	return copyPhys(e, addr, n)
}

// loadPage reads a page for the cache of files that are not mapped.
func (e *elfImage) loadPage(pfn uint64) ([]byte, error) {
	buf := make([]byte, e.facts.PageSize)
	if _, err := e.ReadPhys(buf, pfn*e.facts.PageSize); err != nil {
		return nil, err
	}
	return buf, nil
}

// Ranges implements Image.
func (e *elfImage) Ranges() iter.Seq[Range] {
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
func (e *elfImage) Facts() *Facts { return &e.facts }

// Close implements Image.
func (e *elfImage) Close() error {
	e.whole = nil
	return e.file.close()
}

// fileOrder returns the spans that the file has, by their place in it.
func (e *elfImage) fileOrder() []span {
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
