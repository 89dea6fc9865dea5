package dump

import (
	"context"
	"sort"
)

// sweepBytes is how much of an uncompressed file a worker takes at a time.
const sweepBytes = 1 << 20

// Sweep implements Image.
func (e *spanImage) Sweep(ctx context.Context, workers int, fn func(worker int, p Page) error) error {
	list := e.fileOrder()
	jobs := make([]int, len(list)+1) // number of the first job of each span
	for i, sp := range list {
		jobs[i+1] = jobs[i] + e.sweepParts(sp)
	}
	return sweepJobs(ctx, workers, jobs[len(list)], func(_ context.Context, worker, job int) error {
		i := sort.SearchInts(jobs, job+1) - 1
		return e.sweepPart(list[i], uint64(job-jobs[i]), worker, fn)
	})
}

// sweepParts is the number of aligned stretches of memory that a span touches.
func (e *spanImage) sweepParts(sp span) int {
	return int((sp.end-1)/sweepBytes - sp.start/sweepBytes + 1)
}

// sweepPart hands out the pages of one such stretch.
func (e *spanImage) sweepPart(sp span, part uint64, worker int, fn func(worker int, p Page) error) error {
	from := sp.start
	if part > 0 {
		from = (sp.start/sweepBytes + part) * sweepBytes
	}
	to := min(sp.end, (from/sweepBytes+1)*sweepBytes)
	if to < from {
		to = sp.end // the last stretch of the address space
	}
	off := int64(sp.off + (from - sp.start))
	if e.whole != nil {
		e.file.willNeed(off, int64(to-from))
	}
	data, err := e.sweepView(off, int(to-from))
	again := err != nil && partial(err) // page by page
	for from < to {
		n := min(e.facts.PageSize-from%e.facts.PageSize, to-from)
		p := Page{Addr: from}
		if again {
			data, err = e.sweepView(off, int(n))
		}
		if err != nil {
			p.Err = e.ioError(from, off, err)
		} else {
			p.Data, data = data[:n:n], data[n:]
		}
		if err := e.sweepPage(worker, p, fn); err != nil {
			return err
		}
		from, off = from+n, off+int64(n)
	}
	return nil
}

// sweepView is a view for sweeps. A flattened file may have to be copied
// together, which may fault.
func (e *spanImage) sweepView(off int64, n int) (data []byte, err error) {
	err = Guard(func() (err error) {
		data, err = e.file.view(off, n, nil)
		return err
	})
	return data, err
}

// sweepPage calls fn with a page. A page that faults while fn reads it is
// handed out again, with the error in place of its bytes.
func (e *spanImage) sweepPage(worker int, p Page, fn func(worker int, p Page) error) error {
	if !e.file.mapped() || p.Err != nil {
		return fn(worker, p)
	}
	return guardedPage(worker, p, fn)
}
