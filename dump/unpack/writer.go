package unpack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/kmortem/mortem/dump/internal/disk"
)

const (
	// hole is the smallest stretch of zeros that is left out of the file.
	hole = 4096
	// spareRoom is what is left free on the disk, in bytes.
	spareRoom = 256 << 20
	// roomStep is how many bytes are written between two looks at the room.
	roomStep = 64 << 20
)

// writer writes the unpacked bytes. It leaves out pages of zeros, of which
// dumps have many, so that the file has holes there.
type writer struct {
	file  *os.File
	dir   string
	limit int64 // of size, 0 for none

	mu      sync.Mutex
	size    int64 // of the file
	pos     int64 // where Write writes
	unasked int64 // bytes written since the last look at the room
	err     error
}

// Write writes at the end.
func (w *writer) Write(p []byte) (int, error) {
	n, err := w.WriteAt(p, w.pos)
	w.pos += int64(n)
	return n, err
}

// WriteAt writes anywhere, also from several goroutines.
func (w *writer) WriteAt(p []byte, off int64) (int, error) {
	for at := 0; at < len(p); {
		n := run(p[at:])
		if n > 0 {
			if err := w.put(p[at:at+n], off+int64(at)); err != nil {
				return at, err
			}
		}
		at += n
		at += zeros(p[at:])
	}
	return len(p), w.grow(off + int64(len(p)))
}

// run is the length of the stretch before the first hole.
func run(p []byte) int {
	for n := 0; n < len(p); n += hole {
		if len(p)-n >= hole && allZero(p[n:n+hole]) {
			return n
		}
	}
	return len(p)
}

// zeros is the length of the holes at the beginning.
func zeros(p []byte) int {
	n := 0
	for len(p)-n >= hole && allZero(p[n:n+hole]) {
		n += hole
	}
	return n
}

var zeroPage [hole]byte

func allZero(p []byte) bool { return string(p) == string(zeroPage[:]) }

// grow notes the size of the file.
func (w *writer) grow(size int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size = max(w.size, size)
	if w.limit > 0 && w.size > w.limit {
		return w.fail(fmt.Errorf("%w: %d bytes", ErrTooLarge, w.limit))
	}
	return nil
}

// put writes bytes that are no zeros.
func (w *writer) put(p []byte, off int64) error {
	if err := w.room(int64(len(p))); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(p, off); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			err = noRoom(w.dir, err)
		}
		return w.fail(err)
	}
	return nil
}

// room looks now and then whether the disk is filling up, and then removes
// kept files that were not used for the longest time.
func (w *writer) room(n int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.unasked > 0 {
		if w.unasked -= n; w.unasked > 0 {
			return nil
		}
	}
	w.unasked = roomStep
	for {
		free, ok := disk.Free(w.dir)
		if !ok || free >= spareRoom+roomStep {
			return nil
		}
		if !removeOldest(filepath.Dir(w.dir)) {
			return w.fail(noRoom(w.dir, nil))
		}
	}
}

// fail keeps the first error. The caller holds the lock.
func (w *writer) fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return w.err
}

func noRoom(dir string, err error) error {
	what := "make some, or name another place with XDG_CACHE_HOME"
	if err != nil {
		return fmt.Errorf("%w in %s (%w): %s", ErrNoRoom, dir, err, what)
	}
	return fmt.Errorf("%w in %s: %s", ErrNoRoom, dir, what)
}

// failed returns the first error of writing.
func (w *writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// cut gives up what was written behind an offset.
func (w *writer) cut(size int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size = min(w.size, size)
}

// finish gives the file its size, for it may end with a hole.
func (w *writer) finish() error {
	return w.file.Truncate(w.size)
}
