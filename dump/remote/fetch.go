package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Requests that fail are made again, later each time.
const (
	attempts = 6
	longest  = 10 * time.Second
	// stalled is how long a server may send nothing.
	stalled = time.Minute
)

// firstPause is the time before the second attempt; tests shorten it.
var firstPause = 200 * time.Millisecond

// pauser is an error that says when to try again.
type pauser interface{ Pause() time.Duration }

// input reads a range of the object in one request, or in more where that
// fails.
type input struct {
	r        *Reader
	off, end int64
	body     io.ReadCloser
	stop     context.CancelFunc // of the request
	watch    *time.Timer        // stops it when nothing comes
	failures int                // since something came
}

func (r *Reader) open(off, end int64) *input { return &input{r: r, off: off, end: end} }

// fill reads the next len(p) bytes.
func (in *input) fill(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		n, err := in.read(ctx, p)
		p, in.off = p[n:], in.off+int64(n)
		if n > 0 {
			in.failures = 0
		}
		if err == nil {
			continue
		}
		in.close()
		if err := in.pause(ctx, err); err != nil {
			return err
		}
	}
	return nil
}

// read reads something, making a request if none is under way.
func (in *input) read(ctx context.Context, p []byte) (int, error) {
	if in.body == nil {
		var reqCtx context.Context
		reqCtx, in.stop = context.WithCancel(ctx)
		in.watch = time.AfterFunc(stalled, in.stop)
		in.r.asked.Add(1)
		body, err := in.r.obj.Range(reqCtx, in.off, in.end-in.off)
		if err != nil {
			return 0, err
		}
		in.body = body
	}
	n, err := in.body.Read(p)
	in.r.moved.Add(int64(n))
	if n > 0 {
		in.watch.Reset(stalled)
		if err == io.EOF && n == len(p) {
			err = nil
		}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// pause waits before the next attempt. It returns the error where another
// attempt is of no use.
func (in *input) pause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var permanent *PermanentError
	if errors.Is(err, ErrChanged) || errors.As(err, &permanent) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("the server sent nothing for %v", stalled)
	}
	in.failures++
	if in.failures >= attempts {
		return fmt.Errorf("%w (after %d attempts)", err, attempts)
	}
	wait := firstPause << (in.failures - 1)
	wait += rand.N(wait / 2)
	var p pauser
	if errors.As(err, &p) {
		wait = max(wait, p.Pause())
	}
	select {
	case <-time.After(min(wait, longest)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (in *input) close() {
	if in.stop != nil {
		in.watch.Stop()
		in.stop()
		in.stop = nil
	}
	if in.body != nil {
		_ = in.body.Close() // everything wanted was read, or an error is known
		in.body = nil
	}
}
