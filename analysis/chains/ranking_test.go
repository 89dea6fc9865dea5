package chains

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRanking: whatever order chains come in, and however they are divided, the ranking
// keeps those that sorting all of them puts first.
func TestRanking(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	all := make([]Ranked[int], 1000)
	for i := range all {
		all[i] = Ranked[int]{Bucket: uint64(i), Length: 1 + random.IntN(20), Of: -i}
	}
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b Ranked[int]) int {
		return cmp.Or(cmp.Compare(b.Length, a.Length), cmp.Compare(a.Bucket, b.Bucket))
	})
	for _, most := range []int{1, 7, 100, 1000, 5000, -1} {
		want := sorted
		if most >= 0 {
			want = sorted[:min(most, len(sorted))]
		}
		for range 20 {
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			total, part := NewRanking[int](most), NewRanking[int](most)
			cut := random.IntN(len(all))
			for i, c := range all {
				if i < cut {
					total.Add(c)
				} else {
					part.Add(c)
				}
			}
			total.Join(&part)
			if got := total.List(); !slices.Equal(got, want) {
				t.Fatalf("%d: %v, not %v", most, got, want)
			}
		}
	}
}
