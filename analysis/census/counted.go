package census

import (
	"cmp"
	"math/bits"
)

// counted is what is counted of the dentries of a directory, and of those whose names have
// one pattern.
type counted struct {
	negative, lru, unhashed, bytes uint64
	sample                         [2]uint64 // addresses of dentries
	text                           string    // the pattern
}

// note counts a dentry.
func (c *counted) note(addr, negative, lru, unhashed, size uint64) {
	c.negative += negative
	c.lru += lru
	c.unhashed += unhashed
	c.bytes += size
	c.sampled(addr, addr)
}

// sampled keeps the lowest and the highest address of its dentries as samples: they do
// not depend on which worker met which dentry first.
func (c *counted) sampled(low, high uint64) {
	if c.sample[0] == 0 || low < c.sample[0] {
		c.sample[0] = low
	}
	c.sample[1] = max(c.sample[1], high)
}

func addCounted(to, from *counted) {
	to.negative += from.negative
	to.lru += from.lru
	to.unhashed += from.unhashed
	to.bytes += from.bytes
	to.sampled(from.sample[0], from.sample[1])
}

// byText orders patterns, whose keys differ from run to run, and directories.
func byText(a, b *entry[counted]) int {
	return cmp.Or(cmp.Compare(a.of.text, b.of.text), cmp.Compare(a.key, b.key))
}

// pair is a directory and a pattern that names in it have, by their keys.
type pair struct{ dir, pattern uint64 }

func (p pair) key() uint64 { return p.pattern ^ bits.RotateLeft64(p.dir*golden, 32) }

func addPair(_, _ *pair) {}

// mainPairs finds for each of the keys the pair that more than half of what was counted of
// it is in, if one is for certain: side tells which of a pair's two keys is meant, and
// missed how many a count may be too small.
func mainPairs(pairs *sketch[pair], list []entry[counted], missed uint64, side func(pair) uint64) map[uint64]pair {
	most := make(map[uint64]uint64, len(list)) // half of what there may be of each key
	for i := range list {
		most[list[i].key] = (list[i].total + missed) / 2
	}
	found := make(map[uint64]pair)
	for i := range pairs.entries {
		e := &pairs.entries[i]
		if half, wanted := most[side(e.of)]; wanted && e.total > half {
			found[side(e.of)] = e.of
		}
	}
	return found
}
