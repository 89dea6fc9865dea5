package dump

import (
	"context"
	"sync"
	"sync/atomic"
)

// sweepJobs runs job(worker, i) for every i below n on that many goroutines,
// each of which takes the next number in turn. The first error ends all.
func sweepJobs(ctx context.Context, workers int, n int, job func(ctx context.Context, worker, i int) error) error {
	workers = max(1, min(workers, n))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	run := func(worker int) error {
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= n {
				return nil
			}
			if err := job(ctx, worker, i); err != nil {
				return err
			}
		}
		return context.Cause(ctx)
	}
	if workers == 1 {
		return run(0)
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			if err := run(w); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}
