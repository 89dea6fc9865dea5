package dwarf

import "math/rand/v2"

// recent remembers which entry a name at a place of a string section belongs
// to, so that its text need not be looked at again.
type recent struct {
	keys   []uint64 // place and kind, 0 for a free slot
	values []uint32
	n      int
	factor uint64 // odd and random: multiplicative hashing that nobody can foresee
}

func (r *recent) init() {
	r.factor = rand.Uint64() | 1
	r.keys = make([]uint64, 1<<15)
	r.values = make([]uint32, 1<<15)
}

func (r *recent) slot(key uint64) int {
	mask := len(r.keys) - 1
	i := int(key*r.factor>>32) & mask
	for r.keys[i] != key && r.keys[i] != 0 {
		i = (i + 1) & mask
	}
	return i
}

func (r *recent) get(kind nameKind, name place) (uint32, bool) {
	if r.keys == nil { // it remembers nothing
		return 0, false
	}
	key := uint64(name)<<3 | uint64(kind)
	i := r.slot(key)
	return r.values[i], r.keys[i] == key
}

func (r *recent) put(kind nameKind, name place, value uint32) {
	if r.keys == nil {
		return
	}
	key := uint64(name)<<3 | uint64(kind)
	i := r.slot(key)
	r.keys[i], r.values[i] = key, value
	if r.n++; r.n*2 > len(r.keys) {
		r.grow()
	}
}

func (r *recent) grow() {
	keys, values := r.keys, r.values
	r.keys = make([]uint64, 2*len(keys))
	r.values = make([]uint32, 2*len(values))
	for i, key := range keys {
		if key != 0 {
			at := r.slot(key)
			r.keys[at], r.values[at] = key, values[i]
		}
	}
}
