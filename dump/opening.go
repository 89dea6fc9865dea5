package dump

import (
	"context"
	"sync"
)

// Progress tells how far a long part of opening a dump is.
type Progress struct {
	What  string // "unpacking vmcore.xz"
	Done  int64  // bytes
	Total int64  // bytes, 0 where that is not known
}

// WithProgress has fn called now and then while opening a dump takes long: while
// a packed file is unpacked, a pipe is read, or memory is searched. It is
// called from one goroutine at a time.
func WithProgress(fn func(Progress)) Option {
	var mu sync.Mutex
	return func(o *options) {
		o.progress = func(p Progress) {
			mu.Lock()
			defer mu.Unlock()
			fn(p)
		}
	}
}

// WithContext ends opening when ctx is done, with an error that wraps its error,
// and so it does reads of a remote dump while the Image is open.
func WithContext(ctx context.Context) Option {
	return func(o *options) { o.ctx = ctx }
}

// WithoutScan keeps Open from looking for VMCOREINFO in memory where the
// headers of the dump do not have it; Facts.VMCoreInfo is nil then.
func WithoutScan() Option { return func(o *options) { o.noScan = true } }

// tell reports progress to whoever asked for it.
func (o *options) tell(what string, done, total int64) {
	if o.progress != nil {
		o.progress(Progress{what, done, total})
	}
}
