package chains

import (
	"cmp"
	"slices"
)

// MaxRanked is how many chains a ranking keeps at the most.
const MaxRanked = 1 << 20

// Ranked is a chain in a ranking, with what else is to be kept of it.
type Ranked[T any] struct {
	Bucket uint64 // its number
	Length int    // entries
	Of     T
}

// Ranking keeps the longest of the chains that it is shown, and of equally long ones those
// of the first buckets, so that it does not depend on how the work was divided.
type Ranking[T any] struct {
	most int
	list []Ranked[T]
	last *Ranked[T] // what does not come before it is not kept; nil as long as all are
}

// NewRanking makes a ranking of so many chains; 0 and negative numbers stand for MaxRanked.
func NewRanking[T any](most int) Ranking[T] {
	if most <= 0 || most > MaxRanked {
		most = MaxRanked
	}
	return Ranking[T]{most: most}
}

// Add shows the ranking a chain.
func (r *Ranking[T]) Add(c Ranked[T]) {
	if r.last != nil && r.last.before(&c) {
		return
	}
	r.list = append(r.list, c)
	if len(r.list) >= 2*r.most { // twice the wanted number before sorting, so that it costs little
		r.trim()
	}
}

// Join shows the ranking what another has kept.
func (r *Ranking[T]) Join(o *Ranking[T]) {
	r.list = append(r.list, o.list...)
	r.trim()
}

// List is the chains, the longest first. It is valid until the next call.
func (r *Ranking[T]) List() []Ranked[T] {
	r.trim()
	return r.list
}

func (r *Ranking[T]) trim() {
	slices.SortFunc(r.list, func(a, b Ranked[T]) int {
		return cmp.Or(cmp.Compare(b.Length, a.Length), cmp.Compare(a.Bucket, b.Bucket))
	})
	if len(r.list) >= r.most {
		r.list = r.list[:r.most]
		r.last = &r.list[r.most-1]
	}
}

// before tells whether a chain comes before another in a ranking.
func (c *Ranked[T]) before(o *Ranked[T]) bool {
	return c.Length > o.Length || c.Length == o.Length && c.Bucket < o.Bucket
}
