package dump

import (
	"encoding/binary"
	"errors"
	"math/rand"
	"sync"
	"testing"
)

// evictAll has pages from key on take the places of all others.
func evictAll(t *testing.T, c *pageCache, key uint64) {
	t.Helper()
	for i := range 64 * uint64(len(c.sets)) {
		if err := c.readOrLoad(key+i, loadNumbered); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMissAllocatesNothing: pages that are only read use the memory of those whose
// places they take; also where reading fails in between.
func TestMissAllocatesNothing(t *testing.T) {
	c := newPageCache(64, fixed(64*64), 1<<20)
	evictAll(t, c, 0)
	key := uint64(1 << 30)
	broken := errors.New("broken")
	if n := testing.AllocsPerRun(1000, func() {
		key++
		if err := c.readOrLoad(key, loadNumbered); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a page in the place of another", n)
	}
	made := 0
	for range 1000 {
		key++
		if err := c.readOrLoad(key, func(*cachedPage) error { return broken }); err != broken {
			t.Fatal(err)
		}
		key++
		if err := c.readOrLoad(key, func(p *cachedPage) error {
			if p.mem == nil {
				made++
			}
			return loadNumbered(p)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if made > cacheShards {
		t.Errorf("memory was made %d times", made)
	}
}

// TestViewsStay: what was given away, or is in use, is never overwritten.
func TestViewsStay(t *testing.T) {
	c := newPageCache(64, fixed(16*64), 1<<20)
	view, err := c.viewOrLoad(1, loadNumbered) // loaded for the view
	if err != nil {
		t.Fatal(err)
	}
	if err := c.readOrLoad(2, loadNumbered); err != nil {
		t.Fatal(err)
	}
	second := c.view(2) // loaded before
	pinned, err := c.fetch(3, loadNumbered)
	if err != nil {
		t.Fatal(err)
	}
	evictAll(t, c, 100)
	for key, data := range map[uint64][]byte{1: view, 2: second, 3: pinned.data} {
		if c.has(key) {
			t.Fatalf("page %d is still there", key)
		}
		if err := checkNumbered(data, key); err != nil {
			t.Error(err)
		}
	}
	pinned.state.unpin()
}

// TestLateReader: a reader who has found a page, and looks at it when it has become
// another, learns that.
func TestLateReader(t *testing.T) {
	c := newPageCache(64, fixed(16*64), 1<<20)
	if err := c.readOrLoad(1, loadNumbered); err != nil {
		t.Fatal(err)
	}
	p := c.find(1)
	var buf [64]byte
	reused := false
	for key := uint64(100); !reused && key < 10_000; key++ {
		if err := c.readOrLoad(key, func(q *cachedPage) error {
			if reused = p == q; reused {
				if _, ok := p.read(buf[:], 1, 0); ok {
					t.Error("a page was read while it became another")
				}
				if _, ok := p.read(buf[:], key, 0); ok || p.view(key) != nil {
					t.Error("a page was read before it was loaded")
				}
			}
			return loadNumbered(q)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if !reused {
		t.Fatal("the page was never used again")
	}
	if _, ok := p.read(buf[:], 1, 0); ok || p.view(1) != nil {
		t.Error("a page was read that has become another")
	}
	for range 2 * hotPage {
		p.hit()
	}
	if _, ok := p.read(buf[:], 1, 0); ok {
		t.Error("a page was read that has become another and is in much use")
	}
}

// TestPageCacheRace has pages of a small cache that grows read, viewed and loaded from many
// sides at a time, with loads that fail and pages that share their bytes, and
// checks the bytes that were copied and, again and again, those of all views.
func TestPageCacheRace(t *testing.T) {
	rounds := 60_000
	if testing.Short() {
		rounds = 6000
	}
	for _, size := range []budget{fixed(16 * 64), {16 * 64, 256 * 64}} {
		c := newPageCache(64, size, 1<<20)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				h := hammer{c: c, rng: rand.New(rand.NewSource(int64(g))), views: map[uint64][]byte{}}
				for range rounds {
					if err := h.step(); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

// hammer is one of many users of a cache.
type hammer struct {
	c     *pageCache
	rng   *rand.Rand
	views map[uint64][]byte
}

var errHammer = errors.New("this load fails")

func (h *hammer) step() error {
	key := uint64(h.rng.Intn(120))
	if h.rng.Intn(3) == 0 {
		key = uint64(h.rng.Intn(6)) // in much use
	}
	var err error
	switch h.rng.Intn(16) {
	case 0:
		var data []byte
		if data, err = h.c.viewOrLoad(key, h.load); err == nil {
			err = checkNumbered(data, key)
			h.views[key] = data
		}
	case 1:
		for key, data := range h.views {
			if err := checkNumbered(data, key); err != nil {
				return err
			}
		}
		if h.rng.Intn(4) == 0 {
			clear(h.views)
		}
	default:
		err = h.c.readOrLoad(key, h.load)
	}
	if errors.Is(err, errHammer) {
		return nil
	}
	return err
}

// sharedPages are pages whose bytes are the same memory wherever they are loaded.
var sharedPages = func() (pages [8][]byte) {
	for i := range pages {
		pages[i] = make([]byte, 64)
		for j := 0; j < 64; j += 8 {
			binary.LittleEndian.PutUint64(pages[i][j:], uint64(i)*10)
		}
	}
	return pages
}()

// load writes each page twice, so that whoever sees it too early sees something wrong.
func (h *hammer) load(p *cachedPage) error {
	key := p.key.Load()
	if i := key / 10; key%10 == 0 && i < uint64(len(sharedPages)) {
		p.data = sharedPages[i]
		return nil
	}
	for i := range p.mem {
		p.mem[i] = 0xee
	}
	if h.rng.Intn(20) == 0 {
		return errHammer
	}
	return loadNumbered(p)
}

// TestImageRace reads and views pages of a dump from many sides through a cache of a
// few of them, with pages in a row, for which helpers read ahead.
func TestImageRace(t *testing.T) {
	img := smallKdump(t)
	img.cache = newPageCache(4096, fixed(64*4096), 2000)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewSource(int64(g)))
			buf := make([]byte, 4096)
			views := map[uint64][]byte{}
			check := func(pfn uint64, page []byte) {
				for i := 0; i < len(page); i += 97 {
					if page[i] != byte(pfn)^byte(i>>5) {
						t.Errorf("page %d: byte %d is %#x", pfn, i, page[i])
						return
					}
				}
			}
			for n := range 1500 {
				pfn := uint64(rng.Intn(200))
				if n%500 < 100 {
					pfn = uint64(1000 + n%500)
				}
				if pfn%50 == 49 {
					continue
				}
				if _, err := img.ReadPhys(buf, pfn<<12); err != nil {
					t.Error(err)
				}
				check(pfn, buf)
				if n%16 > 0 {
					continue
				}
				view, err := img.ViewPhys(pfn<<12, 4096)
				if err != nil {
					t.Error(err)
				}
				views[pfn] = view
				for pfn, view := range views {
					check(pfn, view)
				}
			}
		})
	}
	wg.Wait()
}
