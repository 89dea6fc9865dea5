package chains

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestExpectation throws dentries into buckets at random and compares.
func TestExpectation(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, tc := range []struct{ entries, buckets int }{{40000, 65536}, {300000, 65536}, {1000, 1 << 20}, {1 << 20, 1024}} {
		chains := make([]int, tc.buckets)
		for range tc.entries {
			chains[r.IntN(tc.buckets)]++
		}
		var l Lengths
		longest := 0
		for _, n := range chains {
			l.Count(n, 1)
			longest = max(longest, n)
		}
		limit := ExpectedLongest(uint64(tc.entries), uint64(tc.buckets))
		// One in a hundred tables may exceed it; the seed is one that does not.
		if longest > limit || limit > longest+longest/2+3 {
			t.Errorf("%+v: the longest chain is %d, expected at most %d", tc, longest, limit)
		}
		for _, b := range l.Histogram(uint64(tc.entries), uint64(tc.buckets)) {
			// Five standard deviations of a count.
			if diff := math.Abs(float64(b.Buckets) - b.Expected); diff > 5*math.Sqrt(b.Expected)+5 {
				t.Errorf("%+v: %d buckets of length %d to %d, expected %g", tc, b.Buckets, b.From, b.To, b.Expected)
			}
		}
	}
}

func TestExpectationOfNothing(t *testing.T) {
	if n := ExpectedLongest(0, 1024); n != 0 {
		t.Errorf("an empty table is expected to have chains of %d", n)
	}
	if n := ExpectedLongest(5, 0); n != 0 {
		t.Errorf("a table without buckets is expected to have chains of %d", n)
	}
	if n := ExpectedBuckets(0, 1024, 0, 0); n != 1024 {
		t.Errorf("%g of 1024 buckets are expected to be empty without dentries", n)
	}
}

// TestBins: the lines of the histogram follow each other without gap or
// overlap, and hold the lengths that they say.
func TestBins(t *testing.T) {
	next := 0
	for bin := range 40 {
		from, to := binRange(bin)
		if from != next || to < from {
			t.Fatalf("line %d goes from %d to %d; want a start of %d", bin, from, to, next)
		}
		for _, length := range []int{from, (from + to) / 2, to} {
			if binOf(length) != bin {
				t.Errorf("length %d is in line %d; want %d", length, binOf(length), bin)
			}
		}
		next = to + 1
	}
}

func TestLengths(t *testing.T) {
	var a, b Lengths
	a.Count(0, 10)
	a.Count(3, 2)
	b.Count(3, 1)
	b.Count(maxExact+7, 1)
	b.Count(800000, 2)
	a.Add(&b)
	if a.Longest() != 800000 || a.LongerThan(3) != 3 || a.LongerThan(2) != 6 {
		t.Errorf("longest %d, longer than 3: %d, longer than 2: %d", a.Longest(), a.LongerThan(3), a.LongerThan(2))
	}
	var buckets, dentries uint64
	for _, bin := range a.Histogram(1, 1) {
		buckets += bin.Buckets
		dentries += bin.Entries
	}
	if buckets != 16 || dentries != 3*3+maxExact+7+2*800000 {
		t.Errorf("the histogram holds %d buckets and %d dentries", buckets, dentries)
	}
}
