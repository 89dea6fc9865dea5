package chains_test

import (
	"fmt"

	"github.com/kmortem/mortem/analysis/chains"
)

// A million entries in a table of as many buckets: what a random hash gives.
func ExampleExpectedLongest() {
	const entries, buckets = 1 << 20, 1 << 20
	empty := chains.ExpectedBuckets(entries, buckets, 0, 0) / buckets
	fmt.Printf("%.3f of the buckets are empty, a lookup passes %.2f entries, no chain has more than %d\n",
		empty, chains.ExpectedSteps(entries, buckets), chains.ExpectedLongest(entries, buckets))
	// Output: 0.368 of the buckets are empty, a lookup passes 1.50 entries, no chain has more than 11
}

// Three chains of one entry, and one of a hundred.
func ExampleLengths() {
	var lengths chains.Lengths
	lengths.Count(1, 3)
	lengths.Count(100, 1)
	fmt.Println(lengths.Longest(), lengths.LongerThan(10))
	// Output: 100 1
}

// The two longest chains; of equally long ones the first.
func ExampleNewRanking() {
	ranking := chains.NewRanking[string](2)
	for bucket, name := range []string{"a", "bbb", "cc", "dd"} {
		ranking.Add(chains.Ranked[string]{Bucket: uint64(bucket), Length: len(name), Of: name})
	}
	for _, c := range ranking.List() {
		fmt.Println(c.Bucket, c.Length, c.Of)
	}
	// Output:
	// 1 3 bbb
	// 2 2 cc
}
