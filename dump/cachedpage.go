package dump

import (
	"sync"
	"sync/atomic"
)

// cachedPage is a page of the cache. Its memory, and the struct itself, are used for
// one page after the other as long as nobody has been given a view of it.
type cachedPage struct {
	key    atomic.Uint64 // the number of the page
	state  pageState
	hits   atomic.Uint32  // since the clock's hand passed, up to hotPage
	data   []byte         // what readers get: mem or a part of it, or what many pages share
	mem    []byte         // the page's own memory
	err    error          // why it could not be loaded; then it enters no set
	loaded sync.WaitGroup // for those who want it while it is being loaded
}

// hotPage is after how many hits a page counts as shared, so that those who read it
// need not be counted any more.
const hotPage = 16

// hit marks the page as one that is needed.
func (p *cachedPage) hit() {
	if n := p.hits.Load(); n < hotPage {
		p.count(n + 1)
	}
}

// count is apart from hit so that the compiler puts that where it is called.
func (p *cachedPage) count(hits uint32) {
	p.hits.Store(hits)
	if hits == hotPage {
		p.state.share()
	}
}

// view returns the page's bytes to be kept, or nil if it is another page by now.
func (p *cachedPage) view(key uint64) []byte {
	p.hit()
	if !p.state.shared() && !p.state.share() || p.key.Load() != key {
		return nil
	}
	return p.data
}

// read copies the page's bytes from its byte at on. It tells whether it still is that
// page.
func (p *cachedPage) read(buf []byte, key, at uint64) (n int, ok bool) {
	p.hit()
	if p.state.shared() {
		if p.key.Load() != key {
			return 0, false
		}
		return p.copyTo(buf, at), true
	}
	if !p.state.pin() {
		return 0, false
	}
	if ok = p.key.Load() == key; ok {
		n = p.copyTo(buf, at)
	}
	p.state.unpin()
	return n, ok
}

// copyTo copies the page's bytes from its byte at on, for somebody who has it pinned.
func (p *cachedPage) copyTo(buf []byte, at uint64) int {
	return copy(buf, p.data[min(at, uint64(len(p.data))):])
}

// finish is copyTo and unpins the page.
func (p *cachedPage) finish(buf []byte, at uint64) int {
	n := p.copyTo(buf, at)
	p.state.unpin()
	return n
}

// keep returns the bytes of a page that the caller has pinned, to be kept for good.
func (p *cachedPage) keep() []byte {
	p.state.share()
	p.state.unpin()
	return p.data
}

// pageState says who needs the memory of a page. Whoever copies from it has it pinned
// meanwhile; whoever gives away a view of it has it shared, for good. Once the page
// has left its set its memory may be taken for another one, unless it is pinned or
// shared. While it is taken nobody but the loader of the new page may look at it; a reader
// who found the page just before it left, and pins it only now, learns that it
// is taken, or finds that it is another page when it has come back.
type pageState struct{ bits atomic.Uint32 }

// The bits below these count those who have the page pinned.
const (
	pageShared = 1 << 30
	pageTaken  = 1 << 31
)

// pin keeps the memory from being taken until unpin. It tells whether it was in time.
func (s *pageState) pin() bool {
	if s.bits.Add(1)&pageTaken == 0 {
		return true
	}
	s.unpin()
	return false
}

func (s *pageState) unpin() { s.bits.Add(^uint32(0)) }

// share keeps the memory from being taken ever. It tells whether it was in time.
func (s *pageState) share() bool {
	for {
		old := s.bits.Load()
		switch {
		case old&pageTaken != 0:
			return false
		case old&pageShared != 0 || s.bits.CompareAndSwap(old, old|pageShared):
			return true
		}
	}
}

// shared tells whether the memory is never taken any more.
func (s *pageState) shared() bool { return s.bits.Load()&pageShared != 0 }

// take tells whether the memory is the caller's alone now.
func (s *pageState) take() bool { return s.bits.CompareAndSwap(0, pageTaken) }

// wait pins a page that is taken, for somebody who waits until it is loaded. That
// there is such a loader, who has it pinned too, the shard's lock must see to.
func (s *pageState) wait() { s.bits.Add(1) }

// loaded opens a page that was taken to readers.
func (s *pageState) loaded() { s.bits.And(^uint32(pageTaken)) }
