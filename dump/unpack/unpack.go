// Package unpack answers what bytes are in a file that is packed as a whole, or
// in a pipe: it writes them once into a file that can be mapped.
//
// Unpacked files stay in a cache directory under names made of the contents of
// the packed ones, so that the second look at a dump does not unpack it again;
// they go when they were not used for 30 days, or earlier when the disk fills up.
// Several processes may do this at once: one unpacks, the others wait for it.
package unpack

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/kmortem/mortem/dump/cache"
	"github.com/kmortem/mortem/dump/decompress"
)

// Options says where unpacked files are kept.
type Options struct {
	// Dir is the cache directory; without it that is the directory "mortem" in
	// the user's cache directory (os.UserCacheDir).
	Dir string
	// Temp makes a copy that is not kept.
	Temp bool
	// Limit is the largest number of bytes that a file may unpack to; 0 leaves
	// it to the room on the disk.
	Limit int64
	// Progress is called now and then from one goroutine with the packed bytes
	// that are done; total is 0 where it is not known. It may be nil.
	Progress func(done, total int64)
	// Check looks at the first unpacked bytes, up to HeadSize of them, before
	// the others are unpacked: its error ends that. It may be nil.
	Check func(head []byte) error
}

// Result is a file with unpacked bytes.
type Result struct {
	Path string
	// Damage says why the packed bytes could not be unpacked to their end. The
	// file has what came before, and is not kept. Where a bit was flipped, what
	// follows it may be wrong: packers notice that at their next checksum, which
	// for gzip and zstd stands at the end.
	Damage error

	temp bool
}

// Discard removes the file if it is one that is not kept. On Unix it may be
// called as soon as the file is open.
func (r *Result) Discard() {
	if r.temp {
		_ = os.Remove(r.Path) // what is left will be removed after a day
	}
}

// ErrNoRoom: the disk has not enough room for the unpacked bytes.
var ErrNoRoom = errors.New("not enough room on the disk")

// ErrTooLarge: the file unpacks to more than Options.Limit.
var ErrTooLarge = errors.New("unpacks to more than is allowed")

// Unpack unpacks the size bytes of src, which must be packed (Detect), and
// returns a file with the contents. Damaged bytes are no error but
// Result.Damage, as long as something was unpacked. Errors are ErrNoRoom,
// ErrTooLarge, that of Options.Check, of the context, and of reading and writing.
func Unpack(ctx context.Context, src io.ReaderAt, size int64, o Options) (*Result, error) {
	dir, err := cache.Dir(o.Dir, "unpacked")
	if err != nil {
		return nil, err
	}
	head := make([]byte, min(HeadSize, size))
	if _, err := src.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	format := decompress.Detect(head) // with LZMA: the caller says that it is packed
	if format == decompress.None {
		format = packing(head)
	}
	if format == decompress.None {
		return nil, errors.New("not packed in a way that is known")
	}
	write := func(out *writer) error { return o.unpackFile(ctx, src, size, format, out) }
	if o.Temp {
		return o.temp(dir, write)
	}
	key, err := cache.Key(src, size)
	if err != nil {
		return nil, err
	}
	return o.cached(ctx, dir, filepath.Join(dir, key), write)
}

// Spool writes what comes from r into a file that is not kept, unpacked if it
// is packed. Errors are those of Unpack.
func Spool(ctx context.Context, r io.Reader, o Options) (*Result, error) {
	dir, err := cache.Dir(o.Dir, "spool")
	if err != nil {
		return nil, err
	}
	piped, release := interruptible(ctx, r)
	defer release()
	return o.temp(dir, func(out *writer) error {
		return o.spool(&meter{ctx: ctx, r: piped, progress: o.Progress}, out)
	})
}

// interruptible returns a reader of r that gives up when the context is done,
// also while a read of r waits for bytes that never come. That read is then
// left behind.
func interruptible(ctx context.Context, r io.Reader) (io.Reader, func()) {
	pr, pw := io.Pipe()
	go func() {
		_, err := io.CopyBuffer(pw, struct{ io.Reader }{r}, make([]byte, 1<<20))
		pw.CloseWithError(err)
	}()
	stop := context.AfterFunc(ctx, func() { pw.CloseWithError(ctx.Err()) })
	return pr, func() {
		stop()
		_ = pr.Close()
	}
}

// cached returns the kept file of that name, and makes it if it is not there.
func (o *Options) cached(ctx context.Context, dir, path string, write func(*writer) error) (*Result, error) {
	if use(path) {
		return &Result{Path: path}, nil
	}
	unlock, err := lock(ctx, path+".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if use(path) { // somebody else has unpacked it meanwhile
		return &Result{Path: path}, nil
	}
	r, err := o.temp(dir, write)
	if err != nil || r.Damage != nil {
		return r, err
	}
	if err := os.Rename(r.Path, path); err != nil {
		r.Discard()
		return nil, err
	}
	return &Result{Path: path}, nil
}

// use tells whether a kept file is there, and notes that it was used.
func use(path string) bool {
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return false
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // only the order of removal depends on it
	return true
}

// temp writes a file that is not kept.
func (o *Options) temp(dir string, write func(*writer) error) (*Result, error) {
	removeStale(dir)
	f, err := os.CreateTemp(dir, partial+"*")
	if err != nil {
		return nil, err
	}
	r := &Result{Path: f.Name(), temp: true}
	out := &writer{file: f, dir: dir, limit: o.Limit}
	err = write(out)
	err = errors.Join(err, out.finish(), f.Close())
	var damage *damageError
	if errors.As(err, &damage) && out.size > 0 {
		r.Damage, err = damage.err, nil
	}
	if err != nil {
		r.Discard()
		return nil, err
	}
	return r, nil
}

// damageError is an error in the packed bytes.
type damageError struct{ err error }

func (e *damageError) Error() string { return e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }

// meter counts what is read, and stops reading when its context is done.
type meter struct {
	ctx         context.Context
	r           io.Reader
	done, total int64
	told        int64
	progress    func(done, total int64)
	err         error // of r, other than io.EOF
}

// progressStep is how many bytes go between two reports.
const progressStep = 8 << 20

func (m *meter) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		m.err = err
		return 0, err
	}
	n, err := m.r.Read(p)
	m.done += int64(n)
	if m.progress != nil && m.done-m.told >= progressStep {
		m.told = m.done
		m.progress(m.done, m.total)
	}
	if err != nil && err != io.EOF {
		m.err = err
	}
	return n, err
}
