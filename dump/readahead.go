package dump

import (
	"runtime"
	"sync"
)

// readAhead notices readers that miss one page after the other, and lets idle
// processors unpack what comes next: the reader goes on with the pages right
// before it while each helper takes a stretch further on, so that all of them
// unpack at the same time.
type readAhead struct {
	img     *kdumpImage
	helpers int // at most, for one reader

	mu      sync.Mutex
	streams [8]stream // the last readers that look as if they ran
	victim  int       // the stream to forget next
	closed  bool
	running sync.WaitGroup
}

// stream is a reader that goes through memory in one direction.
type stream struct {
	next uint64 // the page that it will miss next, if it is one
	run  int    // how many it has missed in a row
	end  uint64 // up to where pages are being unpacked for it
	far  uint64 // pages of a stretch
}

// A reader that has missed firstRun pages in a row is taken for a runner.
// Objects of a slab often fill two or four pages in a row, which is no run yet.
const (
	firstRun     = 5
	firstStretch = 8
	longStretch  = 64
	maxHelpers   = 3
)

func newReadAhead(img *kdumpImage) *readAhead {
	return &readAhead{img: img, helpers: min(maxHelpers, runtime.GOMAXPROCS(0)-1)}
}

// missed is told of each page that was not in the cache, before it is loaded.
func (r *readAhead) missed(pfn uint64) {
	if r.helpers == 0 || !r.mu.TryLock() {
		return // it is a hint; nobody waits for it
	}
	defer r.mu.Unlock()
	for i := range r.streams {
		if s := &r.streams[i]; s.run > 0 && pfn >= s.next && pfn-s.next < 4 {
			// Excluded pages in between do not end a run.
			s.next = pfn + 1
			s.run++
			if s.run >= firstRun && pfn >= s.end {
				r.start(s, pfn)
			}
			return
		}
	}
	r.streams[r.victim] = stream{next: pfn + 1, run: 1, far: firstStretch}
	r.victim = (r.victim + 1) % len(r.streams)
}

// start sends the helpers off. The reader misses the pages of the first stretch
// itself, finds the others, and is back here at their end.
func (r *readAhead) start(s *stream, pfn uint64) {
	if r.closed {
		return
	}
	at := pfn + s.far
	for range r.helpers {
		first, end := at, at+s.far
		r.running.Add(1)
		go func() {
			defer r.running.Done()
			r.unpack(first, end)
		}()
		at = end
	}
	s.end = at
	s.far = min(2*s.far, longStretch)
}

// unpack puts the pages of a stretch into the cache.
func (r *readAhead) unpack(first, end uint64) {
	img := r.img
	for pfn := first; pfn < end; pfn++ {
		if img.cache.has(pfn) {
			continue
		}
		at, data, err := img.search(pfn)
		if data != nil || err != nil {
			continue // the reader will meet the error
		}
		if page, err := img.cached(pfn, at); err == nil {
			page.state.unpin()
		}
	}
}

// stop waits for the helpers: after it nobody touches the files.
func (r *readAhead) stop() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.running.Wait()
}
