package dcache

import "math"

// A random hash throws n dentries into m buckets, so that the length of a
// chain has, for all practical purposes, a Poisson distribution of mean n/m.

// surprise is how likely a chain longer than the expected longest one may be
// at most, over the whole table.
const surprise = 0.01

// expectedBuckets is how many of the buckets would have a length of from to to.
func expectedBuckets(entries, buckets uint64, from, to int) float64 {
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

// expectedLongest is the length that no chain exceeds under a random hash,
// with a probability of 99 %.
func expectedLongest(entries, buckets uint64) int {
	if entries == 0 || buckets == 0 {
		return 0
	}
	mean := float64(entries) / float64(buckets)
	// Going up from a length beyond which the tail shrinks geometrically, the
	// first one whose tail is small enough is the answer.
	for k := int(mean); ; k++ {
		if float64(buckets)*tail(mean, k) < surprise {
			return k
		}
	}
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
