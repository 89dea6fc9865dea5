package dump

import (
	"math/rand"
	"testing"
)

// TestResolve compares the cutting of overlaps with painting byte by byte.
func TestResolve(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	for range 2000 {
		n := rng.Intn(12)
		pieces := make([]piece, n)
		var want [64]int
		for i := range want {
			want[i] = -1
		}
		ranks := rng.Perm(n)
		for i := range pieces {
			start := uint64(rng.Intn(60))
			pieces[i] = piece{start, start + uint64(rng.Intn(20)), int64(ranks[i]), i}
			for at := start; at < min(pieces[i].end, 64); at++ {
				if want[at] < 0 || ranks[i] < ranks[want[at]] {
					want[at] = i
				}
			}
		}
		in := append([]piece(nil), pieces...)
		out := resolve(pieces)
		var got [64]int
		for i := range got {
			got[i] = -1
		}
		last := uint64(0)
		for _, p := range out {
			if p.start >= p.end || p.start < last {
				t.Fatalf("%v gives %v", in, out)
			}
			last = p.end
			for at := p.start; at < min(p.end, 64); at++ {
				got[at] = p.id
			}
		}
		if got != want {
			t.Fatalf("%v gives %v", in, out)
		}
		if len(out) > max(0, 2*n-1) {
			t.Fatalf("%d pieces become %d", n, len(out))
		}
	}
}
