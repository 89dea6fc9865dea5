package dump

import (
	"encoding/binary"
	"errors"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func numberedPage(key uint64) ([]byte, error) {
	page := make([]byte, 64)
	binary.LittleEndian.PutUint64(page, key)
	return page, nil
}

// TestPageCacheBound: the cache holds no more than it may, and gives the right
// page whatever it has thrown out.
func TestPageCacheBound(t *testing.T) {
	const pages = 64
	c := newPageCache(64, fixed(pages*64), 1<<20, numberedPage)
	rng := rand.New(rand.NewSource(1))
	for range 20_000 {
		key := uint64(rng.Intn(1000))
		data, err := c.page(key)
		if err != nil || binary.LittleEndian.Uint64(data) != key {
			t.Fatalf("page %d: %x, %v", key, data, err)
		}
	}
	held := 0
	for key := range uint64(1000) {
		if c.get(key) != nil {
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
	c := newPageCache(64, fixed(1024*64), 1<<20, func(key uint64) ([]byte, error) {
		if key < 100 {
			loads.Add(1)
		}
		return numberedPage(key)
	})
	for i := range uint64(50_000) {
		if _, err := c.page(1000 + i); err != nil {
			t.Fatal(err)
		}
		if _, err := c.page(i % 100); err != nil {
			t.Fatal(err)
		}
	}
	if n := loads.Load(); n > 1500 {
		t.Errorf("100 pages in constant use were loaded %d times", n)
	}
}

// TestPageCacheOnce: a working set that fits is loaded once, each page.
func TestPageCacheOnce(t *testing.T) {
	var loads atomic.Int64
	c := newPageCache(4096, fixed(256<<20), 1<<18, func(key uint64) ([]byte, error) {
		loads.Add(1)
		return numberedPage(key)
	})
	rng := rand.New(rand.NewSource(1))
	set := map[uint64]bool{}
	for len(set) < 11_300 {
		set[uint64(rng.Intn(1<<18))] = true
	}
	for range 3 {
		for key := range set {
			if _, err := c.page(key); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := loads.Load(); n != int64(len(set)) {
		t.Errorf("%d pages were loaded %d times", len(set), n)
	}
}

// TestPageCacheFlight: who wants a page that is being loaded waits for it.
func TestPageCacheFlight(t *testing.T) {
	var loads atomic.Int64
	c := newPageCache(64, fixed(1<<20), 1<<20, func(key uint64) ([]byte, error) {
		loads.Add(1)
		time.Sleep(time.Millisecond)
		return numberedPage(key)
	})
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for key := range uint64(20) {
				data, err := c.page(key)
				if err != nil || binary.LittleEndian.Uint64(data) != key {
					t.Errorf("goroutine %d, page %d: %x, %v", g, key, data, err)
				}
			}
		})
	}
	wg.Wait()
	if n := loads.Load(); n != 20 {
		t.Errorf("20 pages were loaded %d times", n)
	}
}

// TestPageCacheErrors: errors reach all who wait and are not kept; a panic of
// the loader leaves nobody waiting.
func TestPageCacheErrors(t *testing.T) {
	broken := errors.New("broken")
	fail := true
	c := newPageCache(64, fixed(1<<20), 1<<20, func(key uint64) ([]byte, error) {
		if key == 7 {
			panic("loader")
		}
		if fail {
			return nil, broken
		}
		return numberedPage(key)
	})
	if _, err := c.page(1); err != broken {
		t.Error(err)
	}
	fail = false
	if _, err := c.page(1); err != nil {
		t.Error(err)
	}
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was lost")
				}
			}()
			_, _ = c.page(7)
		}()
	}
}

// TestPageCacheRace hammers a small cache from many sides.
func TestPageCacheRace(t *testing.T) {
	c := newPageCache(64, fixed(32*64), 1<<20, numberedPage)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewSource(int64(g)))
			for range 20_000 {
				key := uint64(rng.Intn(100))
				data, err := c.page(key)
				if err != nil || binary.LittleEndian.Uint64(data) != key {
					t.Errorf("page %d: %x, %v", key, data, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestNewPage: pages do not share bytes, also where they share memory.
func TestNewPage(t *testing.T) {
	c := newPageCache(64, fixed(200*64), 1<<20, numberedPage)
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
			cache := newPageCache(4096, budget{small * 4096, large * 4096}, 1<<20, numberedPage)
			for i := range 40 * small {
				key := uint64(c.next(i))
				data, err := cache.page(key)
				if err != nil || binary.LittleEndian.Uint64(data) != key {
					t.Fatalf("page %d: %x, %v", key, data, err)
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
				if cache.get(key) == nil {
					misses++
				}
			}
			if misses > c.pages/20 {
				t.Errorf("%d of %d pages are not held", misses, c.pages)
			}
		})
	}
}
