package dump

import "errors"

// loadFunc loads a page: it sets data, which may lie in mem. Where mem is nil it
// may make that; memory of other pages may not become mem.
type loadFunc func(p *cachedPage) error

var errLoadPanicked = errors.New("loading the page panicked")

// fetch loads a page that was not in the cache a moment ago, or waits for the one who
// is loading it. The page is pinned for the caller if there is no error.
func (c *pageCache) fetch(key uint64, load loadFunc) (*cachedPage, error) {
	shard := &c.shards[c.setOf(key, 0)%cacheShards] // the same however large the cache is
	shard.mu.Lock()
	set, found := c.place(key, shard)
	if found != nil {
		found.state.pin() // in time, for what is in a set is taken under the lock only
		shard.mu.Unlock()
		return found, nil
	}
	for _, p := range shard.flights {
		if p.key.Load() == key {
			p.state.wait()
			shard.mu.Unlock()
			p.loaded.Wait()
			return p, p.err
		}
	}
	p := shard.takeOff(key)
	regret := set.forget(key)
	shard.mu.Unlock()
	c.consider(regret)
	return p, shard.fly(p, set, load)
}

// place returns the set of a page, and the page if it is there or where it was
// before the cache last grew, from where it then moves. The caller holds the
// shard's lock, which both sets have in common.
func (c *pageCache) place(key uint64, shard *cacheShard) (*cacheSet, *cachedPage) {
	grown := c.grown.Load()
	set := &c.sets[c.setOf(key, grown)]
	p := set.find(key)
	if old := &c.sets[c.setOf(key, grown>>1)]; p == nil && old != set {
		if p = old.find(key); p != nil {
			shard.put(p, set)
			old.remove(p)
		}
	}
	return set, p
}

// takeOff makes a page that is being loaded, in the place of one that had to go if
// there is one. The caller holds the shard's lock.
func (s *cacheShard) takeOff(key uint64) *cachedPage {
	p := s.spare
	if s.spare = nil; p == nil {
		p = &cachedPage{}
		p.state.take()
	}
	p.key.Store(key)
	p.hits.Store(0)
	p.data, p.err = nil, errLoadPanicked
	p.state.wait()
	p.loaded.Add(1)
	s.flights = append(s.flights, p)
	s.loads++
	return p
}

// fly loads a page and puts it into its set.
func (s *cacheShard) fly(p *cachedPage, set *cacheSet, load loadFunc) error {
	defer func() {
		s.mu.Lock()
		if p.err == nil {
			p.state.loaded()
			s.put(p, set)
		} else if p.mem != nil && s.spare == nil {
			// Others may be about to look at the error: only the memory is free.
			s.spare = &cachedPage{mem: p.mem}
			s.spare.state.take()
		}
		s.land(p)
		s.mu.Unlock()
		p.loaded.Done()
	}()
	p.err = load(p)
	return p.err
}

// put puts a page into a set. The caller holds the shard's lock.
func (s *cacheShard) put(p *cachedPage, set *cacheSet) {
	if old := set.insert(p, &s.hand); old != nil {
		s.spare = old
	}
}

// land removes a flight that has ended. The caller holds the shard's lock.
func (s *cacheShard) land(p *cachedPage) {
	last := len(s.flights) - 1
	for i := range s.flights {
		if s.flights[i] == p {
			s.flights[i] = s.flights[last]
			break
		}
	}
	s.flights[last] = nil
	s.flights = s.flights[:last]
}
