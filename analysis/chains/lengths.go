package chains

import "math/bits"

// Bin is one line of a histogram of chain lengths.
type Bin struct {
	From     int     `json:"from"` // length, inclusive
	To       int     `json:"to"`   // length, inclusive
	Buckets  uint64  `json:"buckets"`
	Entries  uint64  `json:"entries"`
	Expected float64 `json:"expected_buckets"` // under a random hash
}

// Lengths counts chains by length. The zero value is empty. Up to maxExact each length has a count of
// its own; longer chains are so few that a map holds them.
type Lengths struct {
	exact []uint64
	long  map[int]uint64
}

const maxExact = 4096

// Count adds so many chains of a length.
func (l *Lengths) Count(length int, chains uint64) {
	if length >= maxExact {
		if l.long == nil {
			l.long = make(map[int]uint64)
		}
		l.long[length] += chains
		return
	}
	for len(l.exact) <= length {
		l.exact = append(l.exact, make([]uint64, length+1-len(l.exact))...)
	}
	l.exact[length] += chains
}

// Add adds the counts of another.
func (l *Lengths) Add(o *Lengths) {
	for length, chains := range o.exact {
		l.Count(length, chains)
	}
	for length, chains := range o.long {
		l.Count(length, chains)
	}
}

// Longest is the length of the longest chain.
func (l *Lengths) Longest() int {
	longest := max(0, len(l.exact)-1)
	for longest > 0 && l.exact[longest] == 0 {
		longest--
	}
	for length := range l.long {
		longest = max(longest, length)
	}
	return longest
}

// LongerThan is how many chains are longer than a limit.
func (l *Lengths) LongerThan(limit int) uint64 {
	var n uint64
	for length := limit + 1; length < len(l.exact); length++ {
		n += l.exact[length]
	}
	for length, chains := range l.long {
		if length > limit {
			n += chains
		}
	}
	return n
}

// singles is up to which length the histogram has a line for each one. Beyond
// it a line goes to twice the length where it starts.
const singles = 16

// binOf is the line of the histogram that a length belongs to.
func binOf(length int) int {
	if length < singles {
		return length
	}
	return singles + bits.Len(uint(length)) - bits.Len(singles)
}

// binRange is the first and the last length of a line.
func binRange(bin int) (from, to int) {
	if bin < singles {
		return bin, bin
	}
	from = singles << (bin - singles)
	return from, 2*from - 1
}

// Steps is how many entries a lookup that finds its entry passes on the average,
// that one included.
func (l *Lengths) Steps() float64 {
	var entries, steps float64
	put := func(length int, chains uint64) {
		n := float64(length)
		entries += n * float64(chains)
		steps += n * (n + 1) / 2 * float64(chains)
	}
	for length, chains := range l.exact {
		put(length, chains)
	}
	for length, chains := range l.long {
		put(length, chains)
	}
	if entries == 0 {
		return 0
	}
	return steps / entries
}

// Histogram has every line up to the longest chain, for a table of so many
// entries and buckets.
func (l *Lengths) Histogram(entries, buckets uint64) []Bin {
	bins := make([]Bin, binOf(l.Longest())+1)
	put := func(length int, chains uint64) {
		b := &bins[binOf(length)]
		b.Buckets += chains
		b.Entries += chains * uint64(length)
	}
	for length, chains := range l.exact {
		if chains != 0 {
			put(length, chains)
		}
	}
	for length, chains := range l.long {
		put(length, chains)
	}
	for i := range bins {
		bins[i].From, bins[i].To = binRange(i)
		bins[i].Expected = ExpectedBuckets(entries, buckets, bins[i].From, bins[i].To)
	}
	return bins
}
