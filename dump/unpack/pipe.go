package unpack

import (
	"context"
	"os"
)

// IsPipe tells whether a name is that of a pipe.
func IsPipe(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&os.ModeNamedPipe != 0
}

// OpenPipe opens a pipe for reading, which waits for somebody who writes into
// it, but not longer than until the context is done: the error is the context's
// then.
func OpenPipe(ctx context.Context, path string) (*os.File, error) {
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.Open(path)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		return o.f, o.err
	case <-ctx.Done():
		go func() { // it may still be opened when a writer comes
			if o := <-done; o.err == nil {
				_ = o.f.Close() // nobody reads it
			}
		}()
		return nil, ctx.Err()
	}
}
