package slab

import (
	"encoding/binary"
	"math/bits"
	"testing"

	"github.com/kmortem/mortem/kernel"
)

// plainCache is a cache of no dump, of slabs of one page.
func plainCache(t testing.TB, kind Allocator, size, freeAt int) *Cache {
	t.Helper()
	s := &Allocations{kind: kind, k: &kernel.Kernel{Memory: &kernel.Memory{}}}
	c := &Cache{Name: "fuzzed", Size: size, PerSlab: 4096 / size, freeAt: freeAt, s: s}
	s.old.entry, s.old.hasDesc = 4, true
	c.heldOnce.Do(func() { c.held = &Held{} })
	return c
}

// Whatever a slab's memory holds, the walk over its free objects ends, marks no object
// twice and none that is not there, and what it marks is what it counts.
func FuzzLoad(f *testing.F) {
	page := make([]byte, 4096)
	for i := range 10 { // a sound list of SLUB
		binary.LittleEndian.PutUint64(page[i*192+96:], 0xffff888000001000+uint64(i+1)*192)
	}
	f.Add(page, uint64(0xffff888000001000), uint16(21), uint16(10), uint8(24))
	f.Add(page, uint64(0xffff888000001001), uint16(21), uint16(10), uint8(24))
	f.Add(page[:100], uint64(0), uint16(500), uint16(600), uint8(1))
	f.Fuzz(func(t *testing.T, mem []byte, first uint64, objects, inuse uint16, words uint8) {
		size := max(8, int(words)*8)
		for _, kind := range []Allocator{SLUB, SLAB} {
			c := plainCache(t, kind, size, size/2&^7)
			sl := &Slab{Cache: c, Start: 0xffff888000001000, First: 0xffff888000001000, Objects: int(objects),
				InUse: int(inuse), Freelist: first, free: uint32(first), Page: 1}
			if sl.checkIn(4096) != nil {
				continue
			}
			d := &Decoder{s: c.s}
			if kind == SLAB {
				d.reset(sl)
				n := min(len(mem), 4*sl.Objects)
				_ = d.followOld(sl, mem[:n]) // damage is what it is given
			} else {
				_ = d.Load(sl, mem[:min(len(mem), 4096)])
			}
			marked := 0
			for i, word := range d.bits {
				marked += bits.OnesCount64(word)
				if i*64 >= sl.Objects && word != 0 {
					t.Fatalf("an object beyond the last one is free")
				}
			}
			if marked != d.Free || d.Free > sl.Objects {
				t.Fatalf("%d of %d objects are marked, %d counted", marked, sl.Objects, d.Free)
			}
		}
	})
}
