package remote

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/kmortem/mortem/dump"
)

// Reader reads an object in blocks. It is an io.ReaderAt for many goroutines,
// and what dump asks for more: dump.Meter and dump.Prefetcher.
//
// A block is looked for in memory, then on disk, then fetched; whoever wants a
// block that somebody is fetching waits for that.
type Reader struct {
	obj    Object
	opt    Options
	blocks int64 // their number
	disk   *diskCache
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	hot     *hotBlocks
	flights map[int64]*flight
	closed  bool

	work     sync.WaitGroup
	requests chan struct{} // holds a place for each request under way

	moved, asked atomic.Int64
}

// parallelRequests is how many requests are under way at most.
const parallelRequests = 8

// flight is a block that is being fetched.
type flight struct {
	done chan struct{}
	data []byte
	err  error
}

// NewReader reads an object, until ctx is done or the Reader is closed.
func NewReader(ctx context.Context, obj Object, opt Options) *Reader {
	r := &Reader{obj: obj, opt: opt.withDefaults(), flights: map[int64]*flight{}, requests: make(chan struct{}, parallelRequests)}
	r.blocks = (obj.Size() + r.opt.BlockSize - 1) / r.opt.BlockSize
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.hot = newHotBlocks(max(4, int(r.opt.Memory/r.opt.BlockSize)))
	r.disk = openDisk(obj, r.opt)
	return r
}

// Source is the Reader as dump.OpenSources takes it.
func (r *Reader) Source() dump.Source {
	return dump.Source{Name: r.obj.Name(), Size: r.obj.Size(), ReaderAt: r, Closer: r}
}

// Moved implements dump.Meter.
func (r *Reader) Moved() (bytes, requests int64) { return r.moved.Load(), r.asked.Load() }

// ReadAt implements io.ReaderAt. What fails for a while is tried again; the error
// is then ErrChanged, a *PermanentError, the context's, or that of the last
// attempt.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: negative offset %d", r.obj.Name(), off)
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		if at >= r.obj.Size() {
			return done, io.EOF
		}
		data, err := r.block(at / r.opt.BlockSize)
		if err != nil {
			return done, fmt.Errorf("%s: %w", r.obj.Name(), err)
		}
		done += copy(p[done:], data[at%r.opt.BlockSize:])
	}
	return done, nil
}

// block returns a block, and starts reading ahead of it.
func (r *Reader) block(i int64) ([]byte, error) {
	r.mu.Lock()
	data := r.hot.get(i)
	var fl *flight
	if data == nil {
		if fl = r.flights[i]; fl == nil {
			fl = r.start(i, 1)
		}
	}
	r.readAhead(i)
	r.mu.Unlock()
	if data != nil {
		return data, nil
	}
	<-fl.done
	return fl.data, fl.err
}

// WillNeed implements dump.Prefetcher: it fetches what of the range is not
// here, as far as reading ahead goes.
func (r *Reader) WillNeed(off, n int64) {
	if off < 0 || n <= 0 || off >= r.obj.Size() {
		return
	}
	n = min(n, r.opt.ReadAhead, r.obj.Size()-off)
	if n <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prefetch(off/r.opt.BlockSize, (off+n-1)/r.opt.BlockSize+1)
}

// readAhead fetches what follows a block that continues a run of reads. The
// further the run goes, the more. The caller holds the lock.
func (r *Reader) readAhead(i int64) {
	run := r.hot.touch(i)
	ahead := min(2*run, r.opt.ReadAhead/r.opt.BlockSize)
	if run < 2 || ahead <= 0 {
		return
	}
	// Many blocks at once make few requests: nothing is done while more than
	// half of what is wanted is here or under way.
	end := min(i+1+ahead, r.blocks)
	if middle := i + 1 + ahead/2; middle < end && !r.here(middle) {
		r.prefetch(i+1, end)
	}
}

// here tells whether a block is in memory or under way.
func (r *Reader) here(i int64) bool {
	return r.flights[i] != nil || r.hot.has(i)
}

// prefetch starts fetching the blocks between two that are not here. The
// caller holds the lock.
func (r *Reader) prefetch(from, to int64) {
	for i := from; i < to; {
		if r.here(i) {
			i++
			continue
		}
		n := int64(1)
		for i+n < to && !r.here(i+n) {
			n++
		}
		r.start(i, n)
		i += n
	}
}

// start starts fetching n blocks, and returns the flight of the first. The
// caller holds the lock.
func (r *Reader) start(first, n int64) *flight {
	list := make([]*flight, n)
	for i := range list {
		list[i] = &flight{done: make(chan struct{})}
		r.flights[first+int64(i)] = list[i]
	}
	if r.closed {
		r.land(first, list, nil, context.Canceled)
		return list[0]
	}
	r.work.Go(func() { r.bring(first, list) })
	return list[0]
}

// bring lands blocks from the disk, and those between them from the server in
// as few requests as possible.
func (r *Reader) bring(first int64, list []*flight) {
	for len(list) > 0 {
		if data := r.disk.read(first, r.blockLen(first)); data != nil {
			r.landed(first, list[:1], data, nil)
			first, list = first+1, list[1:]
			continue
		}
		n := 1
		for n < len(list) && !r.disk.has(first+int64(n)) {
			n++
		}
		r.fetch(first, list[:n])
		first, list = first+int64(n), list[n:]
	}
}

// fetch fetches blocks in one request.
func (r *Reader) fetch(first int64, list []*flight) {
	select {
	case r.requests <- struct{}{}:
		defer func() { <-r.requests }()
	case <-r.ctx.Done():
		r.landed(first, list, nil, r.ctx.Err())
		return
	}
	in := r.open(first*r.opt.BlockSize, min((first+int64(len(list)))*r.opt.BlockSize, r.obj.Size()))
	defer in.close()
	for len(list) > 0 {
		data := make([]byte, r.blockLen(first))
		if err := in.fill(r.ctx, data); err != nil {
			r.landed(first, list, nil, err)
			return
		}
		r.landed(first, list[:1], data, nil)
		r.disk.write(first, data)
		first, list = first+1, list[1:]
	}
}

// blockLen is the length of a block: the last one may be short.
func (r *Reader) blockLen(i int64) int64 {
	return min(r.opt.BlockSize, r.obj.Size()-i*r.opt.BlockSize)
}

func (r *Reader) landed(first int64, list []*flight, data []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.land(first, list, data, err)
}

// land ends flights. The caller holds the lock.
func (r *Reader) land(first int64, list []*flight, data []byte, err error) {
	for i, fl := range list {
		delete(r.flights, first+int64(i))
		if err == nil {
			r.hot.put(first+int64(i), data)
		}
		fl.data, fl.err = data, err
		close(fl.done)
	}
}

// Close ends all requests, and the use of the object. The error is that of
// Object.Close.
func (r *Reader) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.work.Wait()
	r.disk.close()
	return r.obj.Close()
}
