package dump

import (
	"context"
	"sort"
)

// avmlPart is how much memory of an AVML image a worker takes at a time: what
// avml puts into one block.
const avmlPart = 16 << 20

// Sweep implements Image.
func (a *avmlImage) Sweep(ctx context.Context, workers int, fn func(worker int, p Page) error) error {
	list := a.fileOrder()
	jobs := make([]int, len(list)+1) // number of the first job of each span
	for i, sp := range list {
		jobs[i+1] = jobs[i] + int((sp.end-sp.start-1)/avmlPart) + 1
	}
	sweepers := make([]*avmlSweeper, max(1, workers))
	return sweepJobs(ctx, workers, jobs[len(list)], func(_ context.Context, worker, job int) error {
		s := sweepers[worker]
		if s == nil {
			s = &avmlSweeper{img: a, worker: worker, fn: fn, buf: make([]byte, snappyChunkMax)}
			sweepers[worker] = s
		}
		i := sort.SearchInts(jobs, job+1) - 1
		sp := list[i]
		from := sp.start + uint64(job-jobs[i])*avmlPart
		return s.sweep(a.blocks[sp.block], from, min(sp.end, from+avmlPart))
	})
}

// avmlSweeper is one worker of a sweep.
type avmlSweeper struct {
	img    *avmlImage
	worker int
	fn     func(worker int, p Page) error

	block  *avmlBlock // the chunk that was unpacked last, and into what
	chunks *chunkList
	chunk  int
	buf    []byte
	err    error

	page []byte // of a page that several chunks make up
}

// sweep hands out the pages of a block between two addresses.
func (s *avmlSweeper) sweep(b *avmlBlock, from, to uint64) error {
	size := s.img.facts.PageSize
	chunks, err := s.img.chunks(b)
	s.block, s.chunks, s.chunk = b, chunks, -1
	for at := from; at < to; {
		n := min(size-at%size, to-at)
		p := Page{Addr: at}
		if err != nil {
			p.Err = s.img.ioError(at, b.off, err)
		} else {
			p.Data, p.Err = s.bytes(at, int(n))
		}
		if err := s.fn(s.worker, p); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// bytes returns n bytes of memory at addr.
func (s *avmlSweeper) bytes(addr uint64, n int) ([]byte, error) {
	data, err := s.rest(addr)
	if err != nil || len(data) >= n {
		return data[:min(n, len(data))], err
	}
	s.page = s.page[:0]
	for {
		s.page = append(s.page, data[:min(len(data), n-len(s.page))]...)
		if len(s.page) == n {
			return s.page, nil
		}
		if data, err = s.rest(addr + uint64(len(s.page))); err != nil {
			return nil, errorAt(err, addr)
		}
	}
}

// rest returns the bytes from addr on to the end of their chunk, which it
// unpacks if it is not the one unpacked last.
func (s *avmlSweeper) rest(addr uint64) ([]byte, error) {
	at := addr - s.block.start
	i := s.chunk
	if i < 0 || at-s.chunks.list[i].at >= uint64(s.chunks.list[i].plain()) {
		if i = s.chunks.find(at); i < 0 {
			return nil, s.img.brokenError(addr, s.chunks)
		}
		s.chunk = i
		c := s.chunks.list[i]
		s.err = s.img.unpackChunk(s.buf[:c.plain()], s.block, c)
	}
	if s.err != nil {
		return nil, errorAt(s.err, addr)
	}
	c := s.chunks.list[i]
	return s.buf[at-c.at : c.plain()], nil
}
