//go:build linux || darwin || freebsd

package unpack

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lock waits until no other process unpacks the same file. The lock ends with
// the process that holds it.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && stillThere(f, path) {
			return func() {
				_ = os.Remove(path) // before it is unlocked: see stillThere
				_ = f.Close()
			}, nil
		}
		_ = f.Close()
		switch {
		case err == nil: // the one who had the lock has removed the file
		case errors.Is(err, unix.EWOULDBLOCK):
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		default:
			// A file system without locks: unpack it twice rather than not.
			return func() {}, nil
		}
	}
}

// stillThere tells whether the file that was locked is still the one of that
// name.
func stillThere(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}
