package dump

import "sync/atomic"

const cacheWays = 8

// cacheSet holds the pages whose numbers hash to the same place. The tag of a
// way is the page's number plus one; it is only a hint, and the page itself
// says which one it is.
type cacheSet struct {
	tags  [cacheWays]atomic.Uint64
	pages [cacheWays]atomic.Pointer[cachedPage]
	// gone are tags, cut short, of pages that had to go, kept by the shard's lock.
	gone [cacheWays]uint32
}

// find returns a page that is in the set, or nil. Without the shard's lock it may
// become another page at any time, until it is pinned or shared.
func (s *cacheSet) find(key uint64) *cachedPage {
	for i := range s.tags {
		if s.tags[i].Load() != key+1 {
			continue
		}
		if p := s.pages[i].Load(); p != nil && p.key.Load() == key {
			return p
		}
	}
	return nil
}

// insert puts a page into the set, and returns the one that had its place if its
// memory could be taken. The caller holds the shard's lock. The page is stored before
// its tag, so that a reader who sees a new tag finds the page, and one who sees an
// old tag finds that the page is another.
func (s *cacheSet) insert(p *cachedPage, hand *uint32) (taken *cachedPage) {
	i := s.victim(hand)
	old := s.pages[i].Swap(p)
	s.tags[i].Store(p.key.Load() + 1)
	if old == nil || !old.state.take() {
		return nil
	}
	return old
}

// victim chooses the way for a new page: a free one, or the first one that was not used
// since the clock's hand last passed.
func (s *cacheSet) victim(hand *uint32) int {
	for i := range s.tags {
		if s.tags[i].Load() == 0 {
			return i
		}
	}
	for {
		*hand++
		i := *hand % cacheWays
		if s.pages[i].Load().hits.Swap(0) == 0 {
			s.gone[i] = uint32(s.tags[i].Load())
			return int(i)
		}
	}
}

// remove takes a page out of the set. The caller holds the shard's lock.
func (s *cacheSet) remove(p *cachedPage) {
	for i := range s.pages {
		if s.pages[i].Load() == p {
			s.tags[i].Store(0)
			s.pages[i].Store(nil)
		}
	}
}

// forget tells whether a page was among the last that had to go from the set.
func (s *cacheSet) forget(key uint64) bool {
	for i := range s.gone {
		if s.gone[i] == uint32(key+1) {
			s.gone[i] = 0
			return true
		}
	}
	return false
}
