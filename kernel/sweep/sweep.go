// Package sweep reads all slabs of some caches once each, in the order of memory,
// which is that of the dump file, on several processors, and hands the live
// objects out from the page at hand. Following 280 million pointers through a
// compressed dump unpacks a random page for each; the sweep unpacks the 13 million
// pages that hold the objects once. One sweep serves many consumers.
package sweep

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
)

// Consumer wants the slabs of some caches.
type Consumer struct {
	Caches []*slab.Cache
	// Visit is told of each slab. It is called on several goroutines at a time,
	// each with a number of its own below Options.Workers, and must not keep the
	// slab. An error ends the sweep and is returned.
	Visit func(worker int, s *Slab) error
}

// Options say how to sweep. The zero value means the defaults.
type Options struct {
	Workers int // goroutines; 0 means one a processor

	// Progress, if set, is told from several goroutines how many of the page
	// frames are done.
	Progress func(done, total uint64)
}

// Result says what the sweep met.
type Result struct {
	Caches []CacheCounts // of each cache that somebody wanted, by address
	// LostPages is how many page frames nothing is known of, because their struct
	// pages could not be read: each may belong to a slab.
	LostPages uint64
	// Coverage counts objects: those handed out, and the live ones that could not
	// be read. A slab that contradicts itself counts as one that is damaged.
	Coverage kernel.Coverage
}

// CacheCounts are those of one cache.
type CacheCounts struct {
	Cache   *slab.Cache
	Slabs   uint64
	Pages   uint64
	Objects uint64 // that the slabs have room for
	Live    uint64 // of these in use; an upper bound where Damaged is not 0
	Unread  uint64 // live ones that could not be read
	Damaged uint64 // slabs whose counters or lists of free objects contradict themselves
}

// Workers is how many goroutines a sweep with these options has.
func (o Options) workers() int {
	if o.Workers > 0 {
		return o.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// unitPages is how many page frames a worker takes at a time: their struct pages
// fill some dozens of pages.
const unitPages = 4096

// Run sweeps once for all consumers. The error is that of a consumer or of ctx;
// what cannot be read is part of the result's coverage.
func Run(ctx context.Context, s *slab.Allocations, consumers []Consumer, opt Options) (*Result, error) {
	w := newWanted(s, consumers)
	units := unitsOf(s)
	total, done := uint64(0), atomic.Uint64{}
	for _, u := range units {
		total += u.end - u.first
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	workers := make([]*worker, opt.workers())
	var next atomic.Int64
	var group sync.WaitGroup
	for i := range workers {
		workers[i] = newWorker(i, s, w)
		group.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1) - 1)
				if n >= len(units) {
					return
				}
				err := workers[i].guarded(ctx, units[n])
				workers[i].cover.At(uint64(n))
				if err != nil {
					cancel(err)
					return
				}
				if d := done.Add(units[n].end - units[n].first); opt.Progress != nil {
					opt.Progress(d, total)
				}
			}
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return w.result(workers), nil
}

// unit is a run of page frames.
type unit struct{ first, end uint64 }

// unitsOf divides the page frames of the dump that have a struct page.
func unitsOf(s *slab.Allocations) []unit {
	k := s.Kernel()
	end := (k.Image().Facts().MaxPhys + k.PageSize() - 1) / k.PageSize()
	var units []unit
	for _, span := range s.Pages().Spans() {
		for first := span.First; first < min(span.End, end); {
			last := min((first/unitPages+1)*unitPages, span.End, end)
			units = append(units, unit{first, last})
			first = last
		}
	}
	return units
}

// wanted is who wants which cache.
type wanted struct {
	slot   map[*slab.Cache]int
	caches []*slab.Cache
	visits [][]func(worker int, s *Slab) error // by slot
}

func newWanted(s *slab.Allocations, consumers []Consumer) *wanted {
	w := &wanted{slot: make(map[*slab.Cache]int)}
	for _, consumer := range consumers {
		for _, c := range consumer.Caches {
			slot, ok := w.slot[c]
			if !ok {
				slot = len(w.caches)
				w.slot[c] = slot
				w.caches = append(w.caches, c)
				w.visits = append(w.visits, nil)
				c.Held() // before there are several goroutines
			}
			w.visits[slot] = append(w.visits[slot], consumer.Visit)
		}
	}
	return w
}

func (w *wanted) result(workers []*worker) *Result {
	r := &Result{Caches: make([]CacheCounts, len(w.caches))}
	for i, c := range w.caches {
		r.Caches[i].Cache = c
		for _, err := range c.Held().Errors {
			r.Coverage.Fail(err)
		}
	}
	covers := make([]*kernel.PartCoverage, len(workers))
	for i, one := range workers {
		r.LostPages += one.lost
		covers[i] = &one.cover
		for i := range one.counts {
			r.Caches[i].add(&one.counts[i])
		}
	}
	r.Coverage.Add(kernel.JoinCoverage(covers))
	slices.SortFunc(r.Caches, func(a, b CacheCounts) int {
		if a.Cache.Addr < b.Cache.Addr {
			return -1
		}
		return 1
	})
	return r
}

func (c *CacheCounts) add(o *CacheCounts) {
	c.Slabs += o.Slabs
	c.Pages += o.Pages
	c.Objects += o.Objects
	c.Live += o.Live
	c.Unread += o.Unread
	c.Damaged += o.Damaged
}

// worker is one goroutine of a sweep, with the memory that it uses again for each
// slab.
type worker struct {
	number  int
	s       *slab.Allocations
	pages   *page.Map
	reader  *dump.PageReader
	wanted  *wanted
	decoder *slab.Decoder
	slab    Slab
	buf     []byte
	direct  uint64 // where physical memory is mapped
	counts  []CacheCounts
	lost    uint64
	cover   kernel.PartCoverage
	last    *slab.Cache // of the slab before, and whether it is wanted
	slot    int
	held    heldPage             // the page that was read last for the decoder
	aside   [asidePages]heldPage // that a consumer read last
	at      uint64               // the page frame after the last one that is done with
}

func newWorker(number int, s *slab.Allocations, w *wanted) *worker {
	d := s.NewDecoder()
	one := &worker{number: number, s: s, pages: s.Pages(), reader: dump.NewPageReader(s.Kernel().Image()), wanted: w, decoder: d, counts: make([]CacheCounts, len(w.caches))}
	one.slab.worker = one
	d.ReadBy(one.peek)
	one.direct, _ = s.Kernel().PageOffset() // without it there are no slabs
	return one
}

// guarded sweeps one unit. A dump file that is cut short meanwhile must not end the
// program: what was not yet seen of the unit is lost then.
func (w *worker) guarded(ctx context.Context, u unit) error {
	w.at = u.first
	var own error
	if err := dump.Guard(func() error {
		own = w.sweep(ctx, u)
		return nil
	}); err != nil {
		w.lost += u.end - min(w.at, u.end)
		w.cover.Fail(err)
	}
	return own
}

// sweep goes over the struct pages of a unit and the slabs that begin in it.
func (w *worker) sweep(ctx context.Context, u unit) error {
	size := w.pages.Size()
	for b, err := range w.pages.Blocks(u.first, u.end) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			w.lost += uint64(b.N)
			w.cover.Fail(err)
			w.at = b.First + uint64(b.N)
			continue
		}
		for i := range b.N {
			raw := b.At(i, size)
			if !w.pages.IsSlab(raw) {
				continue
			}
			var next []byte
			if i+1 < b.N {
				next = b.At(i+1, size)
			}
			w.at = b.First + uint64(i) + 1
			if err := w.page(b.First+uint64(i), raw, next); err != nil {
				return err
			}
		}
	}
	return nil
}

// page takes one page that is marked as a slab's.
func (w *worker) page(pfn uint64, raw, next []byte) error {
	p := w.pages.Decode(pfn, raw)
	if p.Head != 0 {
		return nil // old kernels mark all pages of a slab
	}
	if next == nil && p.HeadPage {
		next = w.nextPage(pfn)
	}
	cache := w.decoder.CacheOf(raw)
	if cache != w.last {
		w.last, w.slot = cache, -1
		if slot, ok := w.wanted.slot[cache]; ok {
			w.slot = slot
		}
	}
	if cache != nil && w.slot < 0 {
		return nil
	}
	sl, err := w.decoder.Slab(&p, raw, next)
	switch {
	case cache == nil:
		// It may be one of those that are wanted.
		w.cover.Fail(err)
	case err != nil:
		c := &w.counts[w.slot]
		c.Slabs++
		c.Damaged++
		w.cover.Fail(err)
	case sl.PFN == pfn: // SLAB marks each page of a slab
		return w.visit(sl)
	}
	return nil
}

// nextPage reads the struct page behind the last one of a block.
func (w *worker) nextPage(pfn uint64) []byte {
	at, ok := w.pages.Addr(pfn + 1)
	if !ok {
		return nil
	}
	b, err := w.s.Kernel().Peek(at, make([]byte, w.pages.Size()))
	if err != nil {
		return nil
	}
	return b
}

// visit hands out one slab.
func (w *worker) visit(sl slab.Slab) error {
	s, c := &w.slab, &w.counts[w.slot]
	s.Slab = sl
	readErr := w.read(s)
	s.Doubt = w.decoder.Load(&s.Slab, s.Mem[:s.prefix])
	c.Slabs++
	c.Pages += 1 << sl.Order
	c.Objects += uint64(sl.Objects)
	if readErr == nil && s.missing == nil {
		n := uint64(w.decoder.Live(&s.Slab))
		c.Live += n
		w.cover.Read += n
		if s.Doubt != nil {
			c.Damaged++
			w.cover.Fail(s.Doubt)
		}
	} else {
		w.partly(s, c, readErr)
	}
	for _, visit := range w.wanted.visits[w.slot] {
		if err := visit(w.number, s); err != nil {
			return err
		}
	}
	return nil
}

// partly counts the objects of a slab of which pages are missing.
func (w *worker) partly(s *Slab, c *CacheCounts, readErr error) {
	live, lost := uint64(0), uint64(0)
	for i := range s.Objects {
		switch {
		case !s.Live(i):
		case s.Bytes(i) == nil:
			lost++
		default:
			live++
		}
	}
	// Of a slab whose list of free objects is lost the counter tells how many
	// are in use.
	if s.Doubt != nil {
		lost = min(lost, uint64(s.InUse)-min(live, uint64(s.InUse)))
	}
	c.Live += live + lost
	c.Unread += lost
	w.cover.Read += live
	failTimes(&w.cover.Coverage, readErr, lost)
}

// failTimes counts an error once for each of n objects.
func failTimes(cover *kernel.Coverage, err error, n uint64) {
	if n == 0 {
		return
	}
	var one kernel.Coverage
	one.Fail(err)
	one.Excluded, one.Missing, one.Corrupt = one.Excluded*n, one.Missing*n, one.Corrupt*n
	cover.Add(one)
}
