package dcache

import "math/bits"

// lengths counts chains by length. Up to maxExact each length has a count of
// its own; longer chains are so few that a map holds them.
type lengths struct {
	exact []uint64
	long  map[int]uint64
}

const maxExact = 4096

func (l *lengths) count(length int, chains uint64) {
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

func (l *lengths) add(o *lengths) {
	for length, chains := range o.exact {
		l.count(length, chains)
	}
	for length, chains := range o.long {
		l.count(length, chains)
	}
}

func (l *lengths) longest() int {
	longest := max(0, len(l.exact)-1)
	for longest > 0 && l.exact[longest] == 0 {
		longest--
	}
	for length := range l.long {
		longest = max(longest, length)
	}
	return longest
}

func (l *lengths) longerThan(limit int) uint64 {
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

// histogram has every line up to the longest chain.
func (l *lengths) histogram(entries, buckets uint64) []Bin {
	bins := make([]Bin, binOf(l.longest())+1)
	put := func(length int, chains uint64) {
		b := &bins[binOf(length)]
		b.Buckets += chains
		b.Dentries += chains * uint64(length)
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
		bins[i].Expected = expectedBuckets(entries, buckets, bins[i].From, bins[i].To)
	}
	return bins
}
