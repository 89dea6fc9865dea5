package dump

import (
	"testing"

	"github.com/kmortem/mortem/dump/dumpwriter"
)

func smallKdump(t *testing.T) *kdumpImage {
	t.Helper()
	mem := dumpwriter.PageMap{}
	for pfn := range uint64(2000) {
		page := make([]byte, 4096)
		for i := range page {
			page[i] = byte(pfn) ^ byte(i>>5)
		}
		mem[pfn] = page
		if pfn%50 == 49 {
			mem[pfn] = nil
		}
	}
	var b dumpwriter.Buffer
	if err := dumpwriter.Kdump(&b, mem, dumpwriter.Config{Codec: dumpwriter.All(dumpwriter.LZO)}); err != nil {
		t.Fatal(err)
	}
	img := openBytes(t, b.Bytes()).(*kdumpImage)
	img.ahead.helpers = 2 // also where the test has one processor
	return img
}

func TestReadAhead(t *testing.T) {
	img := smallKdump(t)
	var buf [1]byte
	read := func(from, to uint64) {
		for pfn := from; pfn < to; pfn++ {
			if _, err := img.ReadPhys(buf[:], pfn<<12+70); (err != nil) != (pfn%50 == 49) {
				t.Fatal(pfn, err)
			}
			if pfn%50 != 49 && buf[0] != byte(pfn)^(70>>5) {
				t.Fatal(pfn, buf)
			}
		}
		img.ahead.running.Wait()
	}
	// The reader is taken for a runner now, and helpers have gone ahead of it.
	read(0, firstRun)
	if n, want := int(img.cache.loads()), firstRun+img.ahead.helpers*firstStretch; n != want {
		t.Errorf("after %d pages in a row %d were unpacked; want %d", firstRun, n, want)
	}
	read(firstRun, 1000)
	if n := img.cache.loads(); n < 980 || n > 980+2*longStretch {
		t.Errorf("%d pages unpacked; 980 were read", n)
	}
}

// TestNoReadAhead: random reads, and pairs and triples of pages, unpack each
// page once and nothing else.
func TestNoReadAhead(t *testing.T) {
	img := smallKdump(t)
	var buf [1]byte
	want := int64(0)
	for i := range uint64(400) {
		base := i * 767 % 490 * 4
		for j := range i%3 + 1 {
			if pfn := base + j; pfn%50 != 49 && !img.cache.has(pfn) {
				want++
				if _, err := img.ReadPhys(buf[:], pfn<<12); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	img.ahead.running.Wait()
	if n := img.cache.loads(); n != want {
		t.Errorf("%d pages unpacked; %d were read", n, want)
	}
}
