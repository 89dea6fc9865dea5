package dump

import (
	"cmp"
	"container/heap"
	"slices"
)

// piece is a stretch [start, end) of an address space that something claims:
// a segment of physical memory, or a record of a flattened file. Where several
// claim the same bytes, the one of the lowest rank has them.
type piece struct {
	start, end uint64
	rank       int64
	id         int // whose piece it is
}

// resolve cuts overlapping pieces so that each byte belongs to one, and
// returns them in ascending order. It works in n log n steps and gives at most
// 2n-1 pieces. The argument is sorted in place.
func resolve(pieces []piece) []piece {
	pieces = slices.DeleteFunc(pieces, func(p piece) bool { return p.start >= p.end })
	slices.SortFunc(pieces, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.rank, b.rank))
	})
	if disjoint(pieces) {
		return pieces
	}
	var (
		out    []piece
		active pieceHeap // the pieces that reach pos, best rank first
		pos    uint64
	)
	for i := 0; i < len(pieces) || len(active) > 0; {
		if len(active) == 0 {
			pos = max(pos, pieces[i].start)
		}
		for i < len(pieces) && pieces[i].start <= pos {
			heap.Push(&active, pieces[i])
			i++
		}
		best := active[0]
		if best.end <= pos {
			heap.Pop(&active)
			continue
		}
		// It reigns until it ends or until the next one begins, which may
		// be a better one.
		end := best.end
		if i < len(pieces) {
			end = min(end, pieces[i].start)
		}
		out = appendPiece(out, piece{pos, end, best.rank, best.id})
		pos = end
	}
	return out
}

// appendPiece adds a piece, or lengthens the last one that it continues.
func appendPiece(out []piece, p piece) []piece {
	if n := len(out); n > 0 && out[n-1].id == p.id && out[n-1].rank == p.rank && out[n-1].end == p.start {
		out[n-1].end = p.end
		return out
	}
	return append(out, p)
}

func disjoint(sorted []piece) bool {
	for i := 1; i < len(sorted); i++ {
		if sorted[i].start < sorted[i-1].end {
			return false
		}
	}
	return true
}

type pieceHeap []piece

func (h pieceHeap) Len() int           { return len(h) }
func (h pieceHeap) Less(i, j int) bool { return h[i].rank < h[j].rank }
func (h pieceHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *pieceHeap) Push(x any)        { *h = append(*h, x.(piece)) }
func (h *pieceHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
