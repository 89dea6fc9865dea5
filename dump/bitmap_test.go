package dump

import (
	"math/rand"
	"testing"
	"unsafe"
)

// TestBitmap compares the index with counting.
func TestBitmap(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for _, size := range []int{8, 64, 4096, 1 << 15} {
		for density := range 4 {
			whole := make([]byte, size)
			for i := range whole {
				for range density * 3 {
					whole[i] |= 1 << rng.Intn(8)
				}
			}
			pages := uint64(size) * 8
			for _, window := range [][2]uint64{{0, pages}, {0, 0}, {1, pages - 1}, {63, 65}, {64, 128},
				{pages / 3, pages / 2}, {pages / 2, pages}, {pages, pages}} {
				if window[0] > window[1] || window[1] > pages {
					continue
				}
				checkBitmap(t, newBitmap(whole, window[0], window[1]), whole, window[0], window[1])
			}
		}
	}
}

func checkBitmap(t *testing.T, b *bitmap, whole []byte, start, end uint64) {
	t.Helper()
	isSet := func(pfn uint64) bool { return whole[pfn/8]>>(pfn%8)&1 != 0 }
	count := uint64(0)
	step := max((end-start)/500, 1)
	for pfn := start; pfn < end; pfn++ {
		if pfn%step == 0 {
			if got := b.rank(pfn); got != count {
				t.Fatalf("[%d, %d): rank of %d is %d, not %d", start, end, pfn, got, count)
			}
			next, clear := pfn, pfn
			for next < end && !isSet(next) {
				next++
			}
			for clear < end && isSet(clear) {
				clear++
			}
			if b.next(pfn) != next || b.nextClear(pfn) != clear {
				t.Fatalf("[%d, %d): after %d come %d and %d, not %d and %d", start, end, pfn, b.next(pfn), b.nextClear(pfn), next, clear)
			}
		}
		if b.has(pfn) != isSet(pfn) {
			t.Fatalf("[%d, %d): bit %d", start, end, pfn)
		}
		if isSet(pfn) {
			count++
		}
	}
	if b.total != count || b.rank(end) != count {
		t.Fatalf("[%d, %d): %d bits, rank of the end %d, not %d", start, end, b.total, b.rank(end), count)
	}
	if start > 0 && b.has(start-1) || b.has(end) {
		t.Fatalf("[%d, %d): bits outside", start, end)
	}
}

// TestBitmapMemory: the index takes at most 2 % of the bitmap.
func TestBitmapMemory(t *testing.T) {
	whole := make([]byte, 4<<20)
	b := newBitmap(whole, 0, uint64(len(whole))*8)
	index := len(b.block)*int(unsafe.Sizeof(b.block[0])) + len(b.super)*int(unsafe.Sizeof(b.super[0]))
	if index*50 > len(whole) {
		t.Errorf("%d bytes for a bitmap of %d", index, len(whole))
	}
}

func BenchmarkRank(b *testing.B) {
	whole := make([]byte, 4<<20)
	rand.New(rand.NewSource(1)).Read(whole)
	m := newBitmap(whole, 0, uint64(len(whole))*8)
	pfn := uint64(1)
	var sum uint64
	for b.Loop() {
		pfn = pfn * 0x9e3779b97f4a7c15 >> 1
		sum += m.rank(pfn % m.end)
	}
	_ = sum
}
