package dump

import (
	"math/rand"
	"testing"
)

// TestWithin compares with a look at each byte: the pages of a span that have bytes in
// an area of the file, whole, once, and no others.
func TestWithin(t *testing.T) {
	const pageSize, most = 16, 400
	rng := rand.New(rand.NewSource(3))
	for range 3000 {
		sp := span{start: uint64(rng.Intn(100)), off: uint64(rng.Intn(200))}
		sp.end = sp.start + 1 + uint64(rng.Intn(150))
		var areas []fileRange
		var written [most]bool
		for off := uint64(rng.Intn(60)); off < most-80; {
			area := fileRange{off, 1 + uint64(rng.Intn(40))}
			areas = append(areas, area)
			for i := range area.size {
				written[off+i] = true
			}
			off += area.size + 1 + uint64(rng.Intn(60))
		}
		var pages [most]bool // that have a byte written
		for addr := sp.start; addr < sp.end; addr++ {
			if written[sp.off+addr-sp.start] {
				pages[addr/pageSize] = true
			}
		}
		at := sp.start
		var held [most]bool
		for _, part := range sp.within(areas, pageSize, nil) {
			if part.start < at || part.end > sp.end || part.off != sp.off+part.start-sp.start || part.kind != spanData {
				t.Fatalf("%+v of %+v in %v", part, sp, areas)
			}
			for at = part.start; at < part.end; at++ {
				held[at] = true
			}
		}
		for addr := sp.start; addr < sp.end; addr++ {
			if held[addr] != pages[addr/pageSize] {
				t.Fatalf("address %d of %+v in %v: %v", addr, sp, areas, held[addr])
			}
		}
	}
}

// TestWithinBounded: spans that all show the same thousand stretches of a file are not
// taken apart into a million.
func TestWithinBounded(t *testing.T) {
	var areas []fileRange
	for i := range uint64(1000) {
		areas = append(areas, fileRange{i * 8192, 4096})
	}
	var same, apart []span
	for i := range uint64(1000) {
		same = append(same, span{i << 32, i<<32 + 1000*8192, 0, spanData})
		apart = append(apart, span{i << 32, i<<32 + 8192, i * 8192, spanData})
	}
	if list, ok := writtenSpans(same, areas, 4096); ok {
		t.Errorf("%d spans", len(list))
	}
	if list, ok := writtenSpans(apart, areas, 4096); !ok || len(list) != 1000 || list[7] != (span{7 << 32, 7<<32 + 4096, 7 * 8192, spanData}) {
		t.Errorf("%v, %d spans", ok, len(list))
	}
}
