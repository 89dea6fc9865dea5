package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kmortem/mortem/kernel"
)

// Two goroutines read pieces of a row of work; what failed in the first pieces
// is named, whoever read them.
func ExampleJoinCoverage() {
	var a, b kernel.PartCoverage
	a.Read++
	a.At(0)
	b.Fail(fmt.Errorf("piece 1 is damaged"))
	b.At(1)
	a.Fail(fmt.Errorf("piece 2 is damaged"))
	a.At(2)
	all := kernel.JoinCoverage([]*kernel.PartCoverage{&a, &b})
	fmt.Println(all.Read, all.Corrupt, all.Problems)
	// Output: 1 2 [piece 1 is damaged piece 2 is damaged]
}

// TestJoinCoverage divides one row of work in many ways among goroutines: each
// gives what one goroutine alone gives.
func TestJoinCoverage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		pieces := make([]int, random.IntN(60)) // failures in each
		for i := range pieces {
			pieces[i] = random.IntN(3)
		}
		want := divide(pieces, 1, random)
		for workers := 2; workers < 6; workers++ {
			got := divide(pieces, workers, random)
			if got.Corrupt != want.Corrupt || got.Read != want.Read || !slices.Equal(got.Problems, want.Problems) {
				t.Fatalf("%v by %d: %+v, not %+v", pieces, workers, got, want)
			}
		}
	}
}

// The same failure, met twice, is counted twice and named once.
func TestFailTwice(t *testing.T) {
	var c, o kernel.Coverage
	for range 3 {
		c.Fail(fmt.Errorf("broken list"))
		o.Fail(fmt.Errorf("broken list"))
	}
	c.Add(o)
	if c.Corrupt != 6 || !slices.Equal(c.Problems, []string{"broken list"}) {
		t.Errorf("%+v", c)
	}
}

func divide(pieces []int, workers int, random *rand.Rand) kernel.Coverage {
	parts := make([]*kernel.PartCoverage, workers)
	for i := range parts {
		parts[i] = new(kernel.PartCoverage)
	}
	for i, failures := range pieces {
		p := parts[random.IntN(workers)]
		p.Read++
		for n := range failures {
			if i%4 == 3 { // what more than one piece leads to is named once
				p.Fail(fmt.Errorf("failure %d of several pieces", n))
				continue
			}
			p.Fail(fmt.Errorf("piece %d: failure %d", i, n))
		}
		p.At(uint64(i))
	}
	return kernel.JoinCoverage(parts)
}
