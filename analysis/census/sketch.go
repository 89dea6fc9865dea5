package census

import (
	"cmp"
	"slices"
)

// sketch counts by key in bounded memory: exactly as long as there are no more keys
// than it has room for, and otherwise, after Misra and Gries, so that the largest stay.
// When it is full, the smaller half is thrown out, and the largest count thrown out
// is taken from all that stay. A count is then too small by at most error, the sum of
// what was taken.
type sketch struct {
	room    int
	entries []entry
	index   []uint32 // open addressing: one more than the place in entries; 0 for none
	error   uint64
	last    uint32 // place of the entry that was asked for last, plus one
}

// entry is what is counted of one key.
type entry struct {
	key   uint64
	total uint64
	// The following are counted from when the entry came to stay.
	negative, lru, unhashed, bytes uint64
	sample                         [2]uint64 // addresses of dentries
	// partner is the other key that most often came with this one, if one makes up
	// more than half of them: then it leads by votes (after Boyer and Moore).
	partner, votes uint64
	text           string
}

const firstIndex = 1 << 8

func newSketch(room int) *sketch {
	return &sketch{room: room, index: make([]uint32, firstIndex)}
}

func (s *sketch) slot(key uint64) uint64 {
	mask := uint64(len(s.index) - 1)
	at := key * 0x9e3779b97f4a7c15 >> 32 & mask
	for {
		place := s.index[at]
		if place == 0 || s.entries[place-1].key == key {
			return at
		}
		at = (at + 1) & mask
	}
}

// at is the entry of a key, and whether it is new. It is valid until the next call.
func (s *sketch) at(key uint64) (e *entry, fresh bool) {
	if s.last != 0 && s.entries[s.last-1].key == key {
		return &s.entries[s.last-1], false
	}
	slot := s.slot(key)
	if place := s.index[slot]; place != 0 {
		s.last = place
		return &s.entries[place-1], false
	}
	if len(s.entries) == s.room {
		s.shrink()
		slot = s.slot(key)
	} else if 2*len(s.entries) >= len(s.index) {
		s.reindex(2 * len(s.index))
		slot = s.slot(key)
	}
	s.entries = append(s.entries, entry{key: key})
	s.last = uint32(len(s.entries))
	s.index[slot] = s.last
	return &s.entries[s.last-1], true
}

// find is the entry of a key, nil where there is none.
func (s *sketch) find(key uint64) *entry {
	if place := s.index[s.slot(key)]; place != 0 {
		return &s.entries[place-1]
	}
	return nil
}

// shrink throws out the smaller half.
func (s *sketch) shrink() {
	totals := make([]uint64, len(s.entries))
	for i := range s.entries {
		totals[i] = s.entries[i].total
	}
	slices.Sort(totals)
	taken := totals[len(totals)/2]
	kept := s.entries[:0]
	for _, e := range s.entries {
		if e.total > taken {
			e.total -= taken
			kept = append(kept, e)
		}
	}
	clear(s.entries[len(kept):])
	s.entries = kept
	s.error += taken
	s.reindex(len(s.index))
}

func (s *sketch) reindex(size int) {
	s.index = make([]uint32, size)
	s.last = 0
	for i := range s.entries {
		s.index[s.slot(s.entries[i].key)] = uint32(i + 1)
	}
}

// pair notes the other key that an entry came with.
func (e *entry) pair(key uint64) {
	switch {
	case e.partner == key:
		e.votes++
	case e.votes == 0:
		e.partner, e.votes = key, 1
	default:
		e.votes--
	}
}

// sampled keeps the lowest and the highest address of its dentries as samples: they do
// not depend on which worker met which dentry first.
func (e *entry) sampled(low, high uint64) {
	if e.sample[0] == 0 || low < e.sample[0] {
		e.sample[0] = low
	}
	e.sample[1] = max(e.sample[1], high)
}

// merge adds the counts of another sketch.
func (s *sketch) merge(o *sketch) {
	s.error += o.error
	for i := range o.entries {
		from := &o.entries[i]
		e, fresh := s.at(from.key)
		if fresh {
			*e = *from
			continue
		}
		e.total += from.total
		e.negative += from.negative
		e.lru += from.lru
		e.unhashed += from.unhashed
		e.bytes += from.bytes
		e.sampled(from.sample[0], from.sample[1])
		switch {
		case e.partner == from.partner:
			e.votes += from.votes
		case e.votes >= from.votes:
			e.votes -= from.votes
		default:
			e.partner, e.votes = from.partner, from.votes-e.votes
		}
	}
}

// top are the n largest entries, the largest first.
func (s *sketch) top(n int) []entry {
	list := slices.Clone(s.entries)
	slices.SortFunc(list, func(a, b entry) int {
		return cmp.Or(cmp.Compare(b.total, a.total), cmp.Compare(a.text, b.text), cmp.Compare(a.key, b.key))
	})
	return list[:min(len(list), n)]
}
