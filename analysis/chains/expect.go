// Package chains answers whether the chains of a hash table are longer than
// chance would have them. A random hash throws n entries into m buckets, so that
// the length of a chain has, for all practical purposes, a Poisson distribution of
// mean n/m.
package chains

import (
	"math"
	"sort"
)

// surprise is how likely a chain longer than the expected longest one may be
// at most, over the whole table.
const surprise = 0.01

// ExpectedBuckets is how many of the buckets would have a length of from to to,
// inclusive.
func ExpectedBuckets(entries, buckets uint64, from, to int) float64 {
	if buckets == 0 {
		return 0
	}
	mean := float64(entries) / float64(buckets)
	sum := 0.0
	// Beyond that the terms vanish, whatever the range says.
	last := min(to, int(mean+20*math.Sqrt(mean))+64)
	for k := from; k <= last; k++ {
		sum += poisson(mean, k)
	}
	return sum * float64(buckets)
}

// ExpectedLongest is the length that no chain exceeds under a random hash,
// with a probability of 99 %.
func ExpectedLongest(entries, buckets uint64) int {
	if entries == 0 || buckets == 0 {
		return 0
	}
	mean := float64(entries) / float64(buckets)
	// The tail only shrinks with the length, and is nothing at all at the far end.
	first := int(mean)
	last := first + int(20*math.Sqrt(mean)) + 64
	return first + sort.Search(last-first, func(i int) bool {
		return float64(buckets)*tail(mean, first+i) < surprise
	})
}

// ExpectedSteps is how many entries a lookup that finds its entry passes on the
// average, that one included, under a random hash.
func ExpectedSteps(entries, buckets uint64) float64 {
	if entries == 0 || buckets == 0 {
		return 0
	}
	return 1 + float64(entries-1)/(2*float64(buckets))
}

// tail is the probability of more than k.
func tail(mean float64, k int) float64 {
	sum := 0.0
	for i := k + 1; ; i++ {
		p := poisson(mean, i)
		sum += p
		if float64(i) > mean && p <= sum*1e-12 {
			return sum
		}
	}
}

func poisson(mean float64, k int) float64 {
	if mean == 0 {
		if k == 0 {
			return 1
		}
		return 0
	}
	lg, _ := math.Lgamma(float64(k + 1))
	return math.Exp(float64(k)*math.Log(mean) - mean - lg)
}
