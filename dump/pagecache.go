package dump

import (
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// pageCache keeps decompressed pages, bounded in bytes. A hit takes no lock:
// it compares eight tags that lie in one line of the processor's cache and
// follows one pointer. Misses of the same page at the same time decompress it
// once. A page's memory belongs to the garbage collector and is never used
// again for another page, so that callers may keep what they got for as long
// as they like; the bound is on what the cache itself holds on to.
type pageCache struct {
	sets   []cacheSet
	shards [cacheShards]cacheShard
	load   func(key uint64) ([]byte, error)
	chunks atomic.Int64 // that may still be made, see newPage
}

const (
	cacheWays   = 8
	cacheShards = 64
	chunkPages  = 16
)

// cacheSet holds the pages whose numbers hash to the same place. The tag of a
// way is the page's number plus one; it is only a hint, and the page itself
// says which one it is.
type cacheSet struct {
	tags  [cacheWays]atomic.Uint64
	pages [cacheWays]atomic.Pointer[cachedPage]
}

// cachedPage is one page. Once loaded it is fixed but for its mark of use.
type cachedPage struct {
	key    uint64
	data   []byte
	err    error          // why it could not be loaded; then it enters no set
	used   atomic.Uint32  // set by hits, cleared when the clock's hand passes
	loaded sync.WaitGroup // for those who want it while it is being loaded
}

// cacheShard serializes the misses of the sets that share it.
type cacheShard struct {
	mu      sync.Mutex
	flights []*cachedPage // being loaded
	hand    uint32
	_       [24]byte // keeps neighbours out of each other's cache line
}

// newPageCache makes a cache of at most size bytes of pages, and of not much
// more than the number of pages there are.
func newPageCache(pageSize uint64, size int64, pages uint64, load func(uint64) ([]byte, error)) *pageCache {
	slots := max(uint64(size)/pageSize, 2*cacheWays)
	if pages < slots/2 {
		slots = 2 * pages // half-empty sets seldom overflow
	}
	c := &pageCache{
		sets: make([]cacheSet, max(1, min(slots/cacheWays, 1<<31))),
		load: load,
	}
	c.chunks.Store(int64(len(c.sets)) * cacheWays / 2 / chunkPages)
	return c
}

// newPage returns memory for a page to load. Pages that are loaded while the
// cache fills up come sixteen from one piece of memory, which the caller keeps
// for them in chunk: that takes half as long. But such a piece lives as long as
// any page of it, so only the first half of the cache is filled like that, and
// what is kept alive in vain is at most half of the cache's bound.
func (c *pageCache) newPage(size int, chunk *[]byte) []byte {
	if len(*chunk) < size {
		if c.chunks.Load() <= 0 || c.chunks.Add(-1) < 0 {
			return make([]byte, size)
		}
		*chunk = make([]byte, chunkPages*size)
	}
	page := (*chunk)[:size:size]
	*chunk = (*chunk)[size:]
	return page
}

// setOf spreads neighbouring pages over all sets: multiplication by the golden
// ratio, then a reduction of the upper half to the number of sets.
func (c *pageCache) setOf(key uint64) uint64 {
	return (key * 0x9e3779b97f4a7c15 >> 32) * uint64(len(c.sets)) >> 32
}

// get returns a page that is in the cache, or nil.
func (c *pageCache) get(key uint64) []byte {
	set := &c.sets[c.setOf(key)]
	for i := range set.tags {
		if set.tags[i].Load() != key+1 {
			continue
		}
		if p := set.pages[i].Load(); p != nil && p.key == key {
			if p.used.Load() == 0 {
				p.used.Store(1)
			}
			return p.data
		}
	}
	return nil
}

// page returns a page, loading it if need be.
func (c *pageCache) page(key uint64) ([]byte, error) {
	if data := c.get(key); data != nil {
		return data, nil
	}
	return c.fetch(key)
}

var errLoadPanicked = errors.New("loading the page panicked")

// fetch loads a page, or waits for the one who is loading it.
func (c *pageCache) fetch(key uint64) ([]byte, error) {
	setNo := c.setOf(key)
	shard := &c.shards[setNo%cacheShards]
	shard.mu.Lock()
	if data := c.get(key); data != nil {
		shard.mu.Unlock()
		return data, nil
	}
	for _, p := range shard.flights {
		if p.key == key {
			shard.mu.Unlock()
			p.loaded.Wait()
			return p.data, p.err
		}
	}
	p := &cachedPage{key: key, err: errLoadPanicked}
	p.loaded.Add(1)
	shard.flights = append(shard.flights, p)
	shard.mu.Unlock()

	defer func() {
		shard.mu.Lock()
		if p.err == nil {
			c.sets[setNo].insert(p, &shard.hand)
		}
		shard.land(p)
		shard.mu.Unlock()
		p.loaded.Done()
	}()
	p.data, p.err = c.load(key)
	return p.data, p.err
}

// land removes a flight that has ended.
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

// insert puts a page into the set: into a free way, or into the first one that
// was not used since the hand last passed. The caller holds the shard's lock.
// The page is stored before its tag, so that a reader who sees a new tag finds
// the page, and one who sees an old tag finds that the page is another.
func (s *cacheSet) insert(p *cachedPage, hand *uint32) {
	at := -1
	for i := range s.tags {
		if s.tags[i].Load() == 0 {
			at = i
			break
		}
	}
	for at < 0 {
		*hand++
		i := *hand % cacheWays
		if s.pages[i].Load().used.Swap(0) == 0 {
			at = int(i)
		}
	}
	s.pages[at].Store(p)
	s.tags[at].Store(p.key + 1)
}

// defaultCache is the bound of a cache in bytes if the caller gives none: an
// eighth of the memory that this program may use.
func defaultCache() int64 {
	memory := machineMemory()
	if limit := debug.SetMemoryLimit(-1); limit > 0 {
		memory = min(memory, uint64(limit))
	}
	return int64(min(max(memory/8, 256<<20), 1<<30))
}
