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
//
// It begins small and doubles as long as that pays: while at least one in
// regretShare of the misses would have been hits in a cache twice as large. Pages
// that are needed by chance out of many more than the cache could hold, as by a
// walk along hash chains, so do not make it grow.
type pageCache struct {
	sets   []cacheSet    // of the largest size
	first  uint64        // sets of the smallest size
	grown  atomic.Uint64 // mask of the bits of the hash that tell which multiple of first
	most   uint64        // the largest mask
	shards [cacheShards]cacheShard
	load   func(key uint64) ([]byte, error)
	chunks atomic.Int64 // that may still be made, see newPage

	misses, regrets atomic.Uint64 // since the last time that growing was thought of
}

// budget is the memory for a cache of pages, in bytes.
type budget struct{ first, most int64 }

// part is a share of the budget, for a cache beside that of pages.
func (b budget) part(divisor int64) budget { return budget{b.first / divisor, b.most / divisor} }

// fixed is a cache of one size.
func fixed(size int64) budget { return budget{size, size} }

const (
	cacheWays   = 8
	cacheShards = 64
	chunkPages  = 16
	regretShare = 8
)

// cacheSet holds the pages whose numbers hash to the same place. The tag of a
// way is the page's number plus one; it is only a hint, and the page itself
// says which one it is.
type cacheSet struct {
	tags  [cacheWays]atomic.Uint64
	pages [cacheWays]atomic.Pointer[cachedPage]
	// gone are tags, cut short, of pages that had to go, kept by the shard's lock.
	gone [cacheWays]uint32
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

// newPageCache makes a cache within a budget, and of not much more than the number
// of pages there are.
func newPageCache(pageSize uint64, size budget, pages uint64, load func(uint64) ([]byte, error)) *pageCache {
	c := &pageCache{first: setsFor(size.first, pageSize, pages), load: load}
	for most := setsFor(size.most, pageSize, pages); c.first*(c.most+1)*2 <= most; {
		c.most = c.most<<1 | 1
	}
	c.sets = make([]cacheSet, c.first*(c.most+1))
	c.chunks.Store(int64(c.first) * cacheWays / 2 / chunkPages)
	return c
}

// setsFor is how many sets have room for so many bytes of pages.
func setsFor(size int64, pageSize, pages uint64) uint64 {
	slots := max(uint64(size)/pageSize, 2*cacheWays)
	if pages < slots/2 {
		slots = 2 * pages // half-empty sets seldom overflow
	}
	return max(1, min(slots/cacheWays, 1<<31))
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
// ratio, then a reduction of the upper half to the number of sets of the smallest
// size. The cache grows by copies of those, of which the lower half chooses one.
func (c *pageCache) setOf(key, grown uint64) uint64 {
	h := key * 0x9e3779b97f4a7c15
	return (h>>32)*c.first>>32 + c.first*(h&grown)
}

// get returns a page that is in the cache, or nil.
func (c *pageCache) get(key uint64) []byte {
	if p := c.sets[c.setOf(key, c.grown.Load())].find(key); p != nil {
		return p.data
	}
	return nil
}

// find returns a page that is in the set, or nil.
func (set *cacheSet) find(key uint64) *cachedPage {
	for i := range set.tags {
		if set.tags[i].Load() != key+1 {
			continue
		}
		if p := set.pages[i].Load(); p != nil && p.key == key {
			if p.used.Load() == 0 {
				p.used.Store(1)
			}
			return p
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
	shard := &c.shards[c.setOf(key, 0)%cacheShards] // the same however large the cache is
	shard.mu.Lock()
	set, found := c.place(key, shard)
	if found != nil {
		shard.mu.Unlock()
		return found.data, nil
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
	regret := set.forget(key)
	shard.mu.Unlock()
	c.consider(regret)

	defer func() {
		shard.mu.Lock()
		if p.err == nil {
			set.insert(p, &shard.hand)
		}
		shard.land(p)
		shard.mu.Unlock()
		p.loaded.Done()
	}()
	p.data, p.err = c.load(key)
	return p.data, p.err
}

// place returns the set of a page, and the page if it is there or where it was
// before the cache last grew, from where it then moves. The caller holds the
// shard's lock.
func (c *pageCache) place(key uint64, shard *cacheShard) (*cacheSet, *cachedPage) {
	grown := c.grown.Load()
	set := &c.sets[c.setOf(key, grown)]
	p := set.find(key)
	if old := &c.sets[c.setOf(key, grown>>1)]; p == nil && old != set {
		if p = old.find(key); p != nil {
			set.insert(p, &shard.hand)
		}
	}
	return set, p
}

// consider counts a miss, and whether a larger cache would have had the page. After
// enough of them it decides whether to grow.
func (c *pageCache) consider(regret bool) {
	grown := c.grown.Load()
	if grown == c.most {
		return
	}
	if regret {
		c.regrets.Add(1)
	}
	if c.misses.Add(1) < cacheWays*c.first*(grown+1) {
		return
	}
	misses, regrets := c.misses.Swap(0), c.regrets.Swap(0)
	if regrets*regretShare >= misses {
		c.grown.CompareAndSwap(grown, grown<<1|1)
	}
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
			s.gone[i] = uint32(s.tags[i].Load())
		}
	}
	s.pages[at].Store(p)
	s.tags[at].Store(p.key + 1)
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

// defaultCache is the memory for a cache if the caller gives no bound: it begins
// with 16 MiB, and may grow to an eighth of the memory that this program may use.
func defaultCache() budget {
	memory := machineMemory()
	if limit := debug.SetMemoryLimit(-1); limit > 0 {
		memory = min(memory, uint64(limit))
	}
	return budget{16 << 20, int64(min(max(memory/8, 256<<20), 1<<30))}
}
