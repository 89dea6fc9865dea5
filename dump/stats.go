package dump

import (
	"context"
	"errors"
	"math/bits"
	"sync/atomic"
)

// Stats counts the pages of a dump, in units of Facts.PageSize.
type Stats struct {
	Present  uint64 // the dump has them
	Excluded uint64 // filtered out when the dump was written
	Missing  uint64 // should be in the dump, and are not in the files at hand
	Damaged  uint64 // in the dump, and of no use
	Zero     uint64 // of those present, the ones that share one page of zeros

	// Codecs counts the present pages by how they are packed; nil for formats
	// that do not pack.
	Codecs map[Codec]uint64
	// Packed is the number of bytes that the present pages take in the files.
	Packed uint64
}

// counter is an Image that knows its pages better than its ranges tell.
type counter interface {
	stat(ctx context.Context) (*Stats, error)
}

// Stat counts the pages by what the page descriptors say, without reading the
// pages: Damaged are those whose descriptors are impossible. It reads 24 bytes
// for each page of a kdump-compressed dump (struct page_desc of makedumpfile's
// diskdump_mod.h). Its error is that of ctx, or of a file cut short meanwhile.
func Stat(ctx context.Context, img Image) (*Stats, error) {
	if c, ok := img.(counter); ok {
		var st *Stats
		err := Guard(func() (err error) {
			st, err = c.stat(ctx)
			return err
		})
		return st, err
	}
	st := &Stats{}
	for r := range img.Ranges() {
		st.Present += r.Size() / img.Facts().PageSize
		st.Packed += r.Size()
	}
	return st, ctx.Err()
}

// VerifyOptions choose how Verify works.
type VerifyOptions struct {
	// Workers is how many goroutines read; 0 stands for one.
	Workers int
	// Report is given each error, one at a time and in no order. Its own error
	// ends the verification. It may be nil.
	Report func(*ReadError) error
	// Progress is called now and then, by any worker, with the number of pages
	// read so far and that of all. It may be nil.
	Progress func(done, total uint64)
}

// verifyStep is how many pages a worker reads between two calls of Progress.
const verifyStep = 1024

// Verify reads every page. It returns the counts of Stat, of which Damaged and
// Missing are then what could not be read. zlib pages carry a checksum; damage
// of the others is found only where it breaks the packing, and damage of raw
// pages never. A page that cannot be read is no error here, it goes to
// VerifyOptions.Report; errors are those of ctx and of Report.
func Verify(ctx context.Context, img Image, o VerifyOptions) (*Stats, error) {
	st, err := Stat(ctx, img)
	if err != nil {
		return nil, err
	}
	lost := st.Missing + st.Damaged // by the descriptors; counted anew
	var damaged, missing, swept uint64
	var told atomic.Uint64
	errs := make(chan *ReadError)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		err := collect(errs, o.Report, &damaged, &missing)
		if err != nil {
			cancel() // the workers, which may be waiting to report
		}
		done <- err
	}()
	counts := make([]struct {
		n    uint64
		seen byte     // keeps the reads from being optimized away
		_    [56]byte // workers write side by side
	}, max(1, o.Workers))
	err = img.Sweep(ctx, o.Workers, func(w int, p Page) error {
		if counts[w].n++; o.Progress != nil && counts[w].n%verifyStep == 0 {
			o.Progress(told.Add(verifyStep), st.Present+lost)
		}
		if p.Err == nil {
			counts[w].seen |= touch(p.Data)
			return nil
		}
		return pass(ctx, errs, p.Err)
	})
	close(errs)
	if e := <-done; e != nil {
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	for i := range counts {
		swept += counts[i].n
	}
	total := st.Present + lost
	st.Damaged, st.Present = damaged, swept-damaged-missing
	// A page of which two ranges have a part is swept twice.
	st.Missing = total - min(total, st.Present+damaged)
	return st, nil
}

// pass hands the error of a page to the collector; any other error it returns.
func pass(ctx context.Context, errs chan<- *ReadError, err error) error {
	var re *ReadError
	if !errors.As(err, &re) {
		return err
	}
	select {
	case errs <- re:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// collect counts errors and passes them on.
func collect(errs <-chan *ReadError, report func(*ReadError) error, damaged, missing *uint64) error {
	for re := range errs {
		if errors.Is(re, ErrCorrupt) {
			*damaged++
		} else {
			*missing++
		}
		if report == nil {
			continue
		}
		if err := report(re); err != nil {
			return err
		}
	}
	return nil
}

// touch reads from a page so that a mapping has to give its bytes.
func touch(data []byte) byte {
	var x byte
	for i := 0; i < len(data); i += 4096 {
		x |= data[i]
	}
	return x
}

// stat implements counter. A page that lies in the file only partly counts as
// present.
func (e *spanImage) stat(ctx context.Context) (*Stats, error) {
	st := &Stats{}
	size := e.facts.PageSize
	last := ^uint64(0)
	for i := range e.spans {
		sp := &e.spans[i]
		first := sp.start / size
		pages := (sp.end-1)/size - first + 1
		if first == last {
			pages-- // shared with the span before
		}
		last = (sp.end - 1) / size
		switch sp.kind {
		case spanData:
			st.Present += pages
			st.Packed += sp.end - sp.start
		case spanExcluded:
			st.Excluded += pages
		case spanCut:
			st.Missing += pages
		}
	}
	return st, ctx.Err()
}

// stat implements counter.
func (k *kdumpImage) stat(ctx context.Context) (*Stats, error) {
	st := &Stats{Codecs: map[Codec]uint64{}}
	var codecs [64]uint64
	at := uint64(0)
	for _, p := range k.parts {
		k.countAbsent(st, at, p.start)
		at = p.end
		st.Excluded += p.excludedPages(p.start, p.end)
		if err := p.countPages(ctx, st, &codecs, k.pageSize); err != nil {
			return nil, err
		}
	}
	k.countAbsent(st, at, k.parts[0].header.maxMapNr)
	for c, n := range codecs {
		if n > 0 {
			st.Codecs[Codec(c)] = n
		}
	}
	return st, nil
}

// countAbsent counts the pages of a part that was not given, by the bitmaps of
// another, which has those of all.
func (k *kdumpImage) countAbsent(st *Stats, from, to uint64) {
	if from >= to {
		return
	}
	p := k.parts[0]
	st.Missing += newBitmap(p.whole, from, to).total
	st.Excluded += p.excludedPages(from, to)
}

// excludedPages counts the bits that are in the first bitmap only.
func (p *kdumpPart) excludedPages(from, to uint64) uint64 {
	known := p.known()
	n := uint64(0)
	for pfn := from; pfn < to && pfn/8 < uint64(len(known)); {
		if pfn%8 != 0 || to-pfn < 8 {
			if hasBit(known, pfn) && !hasBit(p.whole, pfn) {
				n++
			}
			pfn++
			continue
		}
		n += uint64(bits.OnesCount8(known[pfn/8] &^ p.whole[pfn/8]))
		pfn += 8
	}
	return n
}

// countPages looks at every descriptor of a part.
func (p *kdumpPart) countPages(ctx context.Context, st *Stats, codecs *[64]uint64, pageSize int) error {
	const bulk = 4096
	var buf []byte
	var zeros sharedPage
	for first := uint64(0); first < p.present.total; first += bulk {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(bulk, p.present.total-first)
		data, err := p.descriptors(first, n, buf)
		if err != nil {
			st.Missing += n
			continue
		}
		if !p.file.mapped() {
			buf = data
		}
		st.Missing += n - uint64(len(data)/descSize)
		if first == 0 {
			zeros.desc = p.mostCommon(data, pageSize)
		}
		for ; len(data) >= descSize; data = data[descSize:] {
			d := p.parseDesc(data)
			if kind := p.judge(d, pageSize); kind != nil {
				if kind == ErrMissing {
					st.Missing++
				} else {
					st.Damaged++
				}
				continue
			}
			st.Present++
			codecs[d.codec()&63]++
			if !zeros.again(d) {
				st.Packed += uint64(d.size)
			}
		}
	}
	if zeros.count > 1 {
		st.Zero += zeros.count
	}
	return nil
}

// sharedPage is the page of zeros of a part: the one that many descriptors point to.
type sharedPage struct {
	desc   pageDesc // none as long as it is not known
	count  uint64   // descriptors that point to it
	before pageDesc
}

// again takes the next descriptor, and tells whether an earlier one points to the page
// of zeros as it does.
func (s *sharedPage) again(d pageDesc) bool {
	if s.desc == (pageDesc{}) && d == s.before {
		s.desc, s.count = d, 1
	}
	s.before = d
	if d != s.desc {
		return false
	}
	s.count++
	return s.count > 1
}

// mostCommon is the descriptor that comes most often, and more than once; none if there
// is no such.
func (p *kdumpPart) mostCommon(data []byte, pageSize int) (common pageDesc) {
	count := make(map[pageDesc]int, len(data)/descSize)
	most := 1
	for ; len(data) >= descSize; data = data[descSize:] {
		d := p.parseDesc(data)
		if count[d]++; count[d] > most && p.judge(d, pageSize) == nil {
			common, most = d, count[d]
		}
	}
	return common
}

// judge tells by its descriptor whether a page can be had; nil if it can.
func (p *kdumpPart) judge(d pageDesc, pageSize int) error {
	switch err := d.check(pageSize); {
	case errors.Is(err, errNotWritten):
		return ErrMissing
	case err != nil:
		return ErrCorrupt
	case inStore(clampOff(d.off), int64(d.size), p.file.size()):
		return nil
	case p.cut && !p.farBeyond(d):
		return ErrMissing
	}
	return ErrCorrupt
}
