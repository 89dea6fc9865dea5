package dump

import (
	"context"
	"math"
)

// sweepPages is how many page frames of a kdump file a worker takes at a time.
const sweepPages = 4096

// Sweep implements Image.
func (k *kdumpImage) Sweep(ctx context.Context, workers int, fn func(worker int, p Page) error) error {
	type chunk struct {
		part       *kdumpPart
		start, end uint64
	}
	chunkOf := make([]uint64, len(k.parts)+1)
	for i, p := range k.parts {
		chunkOf[i+1] = chunkOf[i] + (p.end-p.start+sweepPages-1)/sweepPages
	}
	find := func(n uint64) chunk {
		i := 0
		for n >= chunkOf[i+1] {
			i++
		}
		p := k.parts[i]
		start := p.start + (n-chunkOf[i])*sweepPages
		return chunk{p, start, min(start+sweepPages, p.end)}
	}
	total := int(min(chunkOf[len(k.parts)], math.MaxInt))
	sweepers := make([]*sweeper, max(1, workers))
	return sweepJobs(ctx, workers, total, func(_ context.Context, worker, i int) error {
		if sweepers[worker] == nil {
			sweepers[worker] = &sweeper{img: k, worker: worker, fn: fn, page: make([]byte, k.pageSize)}
		}
		c := find(uint64(i))
		return sweepers[worker].sweep(c.part, c.start, c.end)
	})
}

// sweeper is one worker of a sweep, with the memory that it uses again for
// each page.
type sweeper struct {
	img    *kdumpImage
	worker int
	fn     func(worker int, p Page) error
	dec    decoder
	page   []byte
	descs  []byte
	pfns   []uint64
}

// sweep hands out the pages of a part between two page frames.
func (s *sweeper) sweep(p *kdumpPart, start, end uint64) error {
	var first uint64
	s.pfns = s.pfns[:0]
	if err := Guard(func() error {
		first = p.present.rank(start)
		for pfn := p.present.next(start); pfn < end; pfn = p.present.next(pfn + 1) {
			s.pfns = append(s.pfns, pfn)
		}
		return nil
	}); err != nil {
		return err
	}
	if len(s.pfns) == 0 {
		return nil
	}
	descs, err := s.bulk(p, first, uint64(len(s.pfns)))
	for _, pfn := range s.pfns {
		page := Page{Addr: pfn << s.img.pageShift}
		switch {
		case len(descs) < descSize:
			at := p.descOff + int64(first*descSize)
			page.Err = &ReadError{Addr: page.Addr, Kind: ErrMissing, File: p.file.name(), Offset: p.file.locate(at), Err: errCutShort}
			if err != nil {
				page.Err.(*ReadError).Err = err
			}
		default:
			page.Data, page.Err = s.unpack(p, pfn, p.parseDesc(descs))
			descs = descs[descSize:]
		}
		first++
		if err := guardedPage(s.worker, page, s.fn); err != nil {
			return err
		}
	}
	return nil
}

// bulk reads the descriptors of a stretch, and lets the system read ahead the
// pages that they point to.
func (s *sweeper) bulk(p *kdumpPart, first, n uint64) (descs []byte, err error) {
	err = Guard(func() error {
		descs, err = p.descriptors(first, n, s.descs)
		if err != nil || len(descs) == 0 {
			return err
		}
		if !p.file.mapped() {
			s.descs = descs
		}
		low, high := p.parseDesc(descs), p.parseDesc(descs[len(descs)-descSize:])
		if low.off < high.off && high.off-low.off < 2*sweepPages*p.header.blockSize {
			p.file.willNeed(int64(low.off), int64(high.off-low.off))
		}
		return nil
	})
	return descs, err
}

// unpack returns the bytes of a page: from the mapping, from the shared page of
// zeros, or unpacked into the worker's buffer.
func (s *sweeper) unpack(p *kdumpPart, pfn uint64, d pageDesc) (data []byte, err error) {
	err = Guard(func() error {
		data, err = p.pageOnce(&s.dec, d, s.page)
		return s.img.pageError(pfn, p, d, err)
	})
	return data, err
}
