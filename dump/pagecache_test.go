package dump

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// loadNumbered loads a page that has its number in each word.
func loadNumbered(p *cachedPage) error {
	if p.mem == nil {
		p.mem = make([]byte, 64)
	}
	for i := 0; i < len(p.mem); i += 8 {
		binary.LittleEndian.PutUint64(p.mem[i:], p.key.Load())
	}
	p.data = p.mem
	return nil
}

// readOrLoad reads a page of 64 bytes, and checks that it is the right one.
func (c *pageCache) readOrLoad(key uint64, load loadFunc) error {
	var buf [64]byte
	n, ok := c.read(buf[:], key, 0)
	if !ok {
		p, err := c.fetch(key, load)
		if err != nil {
			return err
		}
		n = p.finish(buf[:], 0)
	}
	return checkNumbered(buf[:n], key)
}

// viewOrLoad returns a page for the caller to keep.
func (c *pageCache) viewOrLoad(key uint64, load loadFunc) ([]byte, error) {
	if data := c.view(key); data != nil {
		return data, nil
	}
	p, err := c.fetch(key, load)
	if err != nil {
		return nil, err
	}
	return p.keep(), nil
}

// loads is how many pages were loaded so far.
func (c *pageCache) loads() (n int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += int64(s.loads)
		s.mu.Unlock()
	}
	return n
}

func checkNumbered(page []byte, key uint64) error {
	for i := 0; i < 64; i += 8 {
		if got := binary.LittleEndian.Uint64(page[i:]); got != key {
			return fmt.Errorf("page %d has the number %d in its byte %d", key, got, i)
		}
	}
	return nil
}

// TestPageCacheBound: the cache holds no more than it may, and gives the right
// page whatever it has thrown out.
func TestPageCacheBound(t *testing.T) {
	const pages = 64
	c := newPageCache(64, fixed(pages*64), 1<<20)
	rng := rand.New(rand.NewSource(1))
	for range 20_000 {
		key := uint64(rng.Intn(1000))
		if err := c.readOrLoad(key, loadNumbered); err != nil {
			t.Fatal(err)
		}
	}
	held := 0
	for key := range uint64(1000) {
		if c.has(key) {
			held++
		}
	}
	if held == 0 || held > pages {
		t.Errorf("%d pages in a cache of %d", held, pages)
	}
}

// TestPageCacheKeeps: pages in use stay while others pass by.
func TestPageCacheKeeps(t *testing.T) {
	var loads atomic.Int64
	c := newPageCache(64, fixed(1024*64), 1<<20)
	load := func(p *cachedPage) error {
		if p.key.Load() < 100 {
			loads.Add(1)
		}
		return loadNumbered(p)
	}
	for i := range uint64(50_000) {
		if err := c.readOrLoad(1000+i, load); err != nil {
			t.Fatal(err)
		}
		if err := c.readOrLoad(i%100, load); err != nil {
			t.Fatal(err)
		}
	}
	if n := loads.Load(); n > 1500 {
		t.Errorf("100 pages in constant use were loaded %d times", n)
	}
}

// TestPageCacheOnce: a working set that fits is loaded once, each page.
func TestPageCacheOnce(t *testing.T) {
	c := newPageCache(4096, fixed(256<<20), 1<<18)
	rng := rand.New(rand.NewSource(1))
	set := map[uint64]bool{}
	for len(set) < 11_300 {
		set[uint64(rng.Intn(1<<18))] = true
	}
	for range 3 {
		for key := range set {
			if err := c.readOrLoad(key, loadNumbered); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := c.loads(); n != int64(len(set)) {
		t.Errorf("%d pages were loaded %d times", len(set), n)
	}
}

// TestPageCacheFlight: who wants a page that is being loaded waits for it.
func TestPageCacheFlight(t *testing.T) {
	c := newPageCache(64, fixed(1<<20), 1<<20)
	slow := func(p *cachedPage) error {
		time.Sleep(time.Millisecond)
		return loadNumbered(p)
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for key := range uint64(20) {
				if err := c.readOrLoad(key, slow); err != nil {
					t.Errorf("goroutine %d: %v", g, err)
				}
			}
		})
	}
	wg.Wait()
	if n := c.loads(); n != 20 {
		t.Errorf("20 pages were loaded %d times", n)
	}
}

// TestPageCacheErrors: errors reach all who wait and are not kept; a panic of
// the loader leaves nobody waiting.
func TestPageCacheErrors(t *testing.T) {
	broken := errors.New("broken")
	c := newPageCache(64, fixed(1<<20), 1<<20)
	if err := c.readOrLoad(1, func(*cachedPage) error { return broken }); err != broken {
		t.Error(err)
	}
	if err := c.readOrLoad(1, loadNumbered); err != nil {
		t.Error(err)
	}
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was lost")
				}
			}()
			_ = c.readOrLoad(7, func(*cachedPage) error { panic("loader") })
		}()
	}
}

// TestNewPage: pages do not share bytes, also where they share memory.
func TestNewPage(t *testing.T) {
	c := newPageCache(64, fixed(200*64), 1<<20)
	var chunk []byte
	var pages [][]byte
	for i := range 300 {
		page := c.newPage(64, &chunk)
		if len(page) != 64 || cap(page) != 64 {
			t.Fatalf("a page of %d bytes, capacity %d", len(page), cap(page))
		}
		for j := range page {
			page[j] = byte(i)
		}
		pages = append(pages, page)
	}
	for i, page := range pages {
		for _, b := range page {
			if b != byte(i) {
				t.Fatalf("page %d was overwritten", i)
			}
		}
	}
	if left := c.chunks.Load(); left > 0 {
		t.Errorf("%d chunks left", left)
	}
}

// TestPageCacheGrows: the cache grows while a larger one would spare work, and only
// then: not for pages that are needed by chance out of far too many, nor for those
// that pass by in order.
func TestPageCacheGrows(t *testing.T) {
	const small, large = 4096, 64 << 10 // pages
	rng := rand.New(rand.NewSource(1))
	for _, c := range []struct {
		name  string
		pages int // that are needed, out of which next chooses
		next  func(i int) int
		grows bool
	}{
		{"few", small / 2, func(int) int { return rng.Intn(small / 2) }, false},
		{"some", 5 * small, func(int) int { return rng.Intn(5 * small) }, true},
		{"far too many", 13 * small, func(int) int { return rng.Intn(13 * small) }, false},
		{"in order", 3 * small, func(i int) int { return i % (13 * small) }, false},
		{"a few of them more often", 40 * small, func(int) int {
			if rng.Intn(4) > 0 {
				return rng.Intn(3 * small)
			}
			return rng.Intn(40 * small)
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := newPageCache(4096, budget{small * 4096, large * 4096}, 1<<20)
			for i := range 40 * small {
				key := uint64(c.next(i))
				if err := cache.readOrLoad(key, loadNumbered); err != nil {
					t.Fatal(err)
				}
			}
			if grown := cache.grown.Load() > 0; grown != c.grows {
				t.Errorf("grown to %d times its size", cache.grown.Load()+1)
			}
			if c.name != "some" {
				return
			}
			misses := 0
			for key := range uint64(c.pages) {
				if !cache.has(key) {
					misses++
				}
			}
			if misses > c.pages/20 {
				t.Errorf("%d of %d pages are not held", misses, c.pages)
			}
		})
	}
}
