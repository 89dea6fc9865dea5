package dump

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// pageCache keeps decompressed pages, bounded in bytes. A hit takes no lock:
// it compares eight tags that lie in one line of the processor's cache and
// follows one pointer. Misses of the same page at the same time decompress it
// once.
//
// A page of which a view was given away belongs to the garbage collector, so that
// callers may keep it for as long as they like; the bound is on what the cache
// itself holds on to. A page that was only copied from gives its memory to the
// page that takes its place: see pageState.
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
	chunks atomic.Int64 // that may still be made, see newPage

	misses, regrets atomic.Uint64 // since the last time that growing was thought of
}

// cacheShard serializes the misses of the sets that share it.
type cacheShard struct {
	mu      sync.Mutex
	flights []*cachedPage // being loaded
	spare   *cachedPage   // one that had to go and that nobody needs, for the next one
	hand    uint32        // of the clock, see cacheSet.victim
	loads   uint64        // so far
	_       [64]byte      // keeps neighbours out of each other's cache line
}

// budget is the memory for a cache of pages, in bytes.
type budget struct{ first, most int64 }

// part is a share of the budget, for a cache beside that of pages.
func (b budget) part(divisor int64) budget { return budget{b.first / divisor, b.most / divisor} }

// fixed is a cache of one size.
func fixed(size int64) budget { return budget{size, size} }

const (
	cacheShards = 64
	chunkPages  = 16
	regretShare = 8
)

// newPageCache makes a cache within a budget, and of not much more than the number
// of pages there are.
func newPageCache(pageSize uint64, size budget, pages uint64) *pageCache {
	c := &pageCache{first: setsFor(size.first, pageSize, pages)}
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

// setOf spreads neighbouring pages over all sets: multiplication by the golden
// ratio, then a reduction of the upper half to the number of sets of the smallest
// size. The cache grows by copies of those, of which the lower half chooses one.
func (c *pageCache) setOf(key, grown uint64) uint64 {
	h := key * 0x9e3779b97f4a7c15
	return (h>>32)*c.first>>32 + c.first*(h&grown)
}

// find returns a page that is in the cache, or nil.
func (c *pageCache) find(key uint64) *cachedPage {
	return c.sets[c.setOf(key, c.grown.Load())].find(key)
}

// has tells whether a page is in the cache.
func (c *pageCache) has(key uint64) bool { return c.find(key) != nil }

// view returns a page that is in the cache, for the caller to keep, or nil.
func (c *pageCache) view(key uint64) []byte {
	if p := c.find(key); p != nil {
		return p.view(key)
	}
	return nil
}

// read copies the bytes of a page from its byte at on into buf. It tells whether
// the page is in the cache.
func (c *pageCache) read(buf []byte, key, at uint64) (n int, ok bool) {
	if p := c.find(key); p != nil {
		return p.read(buf, key, at)
	}
	return 0, false
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

// defaultCache is the memory for a cache if the caller gives no bound: it begins
// with 16 MiB, and may grow to an eighth of the memory that this program may use.
func defaultCache() budget {
	memory := machineMemory()
	if limit := debug.SetMemoryLimit(-1); limit > 0 {
		memory = min(memory, uint64(limit))
	}
	return budget{16 << 20, int64(min(max(memory/8, 256<<20), 1<<30))}
}
