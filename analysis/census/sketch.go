package census

import (
	"cmp"
	"slices"
)

// sketch counts by key in bounded memory: exactly as long as there are no more keys
// than it has room for, and otherwise, after Misra and Gries, so that the largest stay.
// When it is full, the smaller half is thrown out, and the largest count thrown out
// is taken from all that stay. A count is then too small by at most error, the sum of
// what was taken. As long as error is 0 the order of counting and merging makes no
// difference.
type sketch[T any] struct {
	room    int
	entries []entry[T]
	index   []uint32 // open addressing: one more than the place in entries; 0 for none
	error   uint64
	last    uint32 // place of the entry that was asked for last, plus one
}

// entry is what is counted of one key, and what else is known of it, from when it came to
// stay.
type entry[T any] struct {
	key   uint64
	total uint64
	of    T
}

const firstIndex = 1 << 8

func newSketch[T any](room int) *sketch[T] {
	return &sketch[T]{room: room, index: make([]uint32, firstIndex)}
}

func (s *sketch[T]) slot(key uint64) uint64 {
	mask := uint64(len(s.index) - 1)
	at := key * golden >> 32 & mask
	for {
		place := s.index[at]
		if place == 0 || s.entries[place-1].key == key {
			return at
		}
		at = (at + 1) & mask
	}
}

// golden spreads keys that differ in few bits (after Fibonacci, as the kernel's hash_64).
const golden = 0x9e3779b97f4a7c15

// at is the entry of a key, and whether it is new. It is valid until the next call.
func (s *sketch[T]) at(key uint64) (e *entry[T], fresh bool) {
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
	s.entries = append(s.entries, entry[T]{key: key})
	s.last = uint32(len(s.entries))
	s.index[slot] = s.last
	return &s.entries[s.last-1], true
}

// find is the entry of a key, nil where there is none.
func (s *sketch[T]) find(key uint64) *entry[T] {
	if place := s.index[s.slot(key)]; place != 0 {
		return &s.entries[place-1]
	}
	return nil
}

// shrink throws out the smaller half.
func (s *sketch[T]) shrink() {
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

func (s *sketch[T]) reindex(size int) {
	s.index = make([]uint32, size)
	s.last = 0
	for i := range s.entries {
		s.index[s.slot(s.entries[i].key)] = uint32(i + 1)
	}
}

// merge adds the counts of another sketch; add adds what else is known of a key.
func (s *sketch[T]) merge(o *sketch[T], add func(to, from *T)) {
	s.error += o.error
	for i := range o.entries {
		from := &o.entries[i]
		e, fresh := s.at(from.key)
		if fresh {
			*e = *from
			continue
		}
		e.total += from.total
		add(&e.of, &from.of)
	}
}

// top are the n largest entries, the largest first, and equally large ones as compare says.
func (s *sketch[T]) top(n int, compare func(a, b *entry[T]) int) []entry[T] {
	list := slices.Clone(s.entries)
	slices.SortFunc(list, func(a, b entry[T]) int { return cmp.Or(cmp.Compare(b.total, a.total), compare(&a, &b)) })
	return list[:min(len(list), n)]
}
