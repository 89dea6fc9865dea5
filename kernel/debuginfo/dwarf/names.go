package dwarf

import (
	"hash/maphash"
	"iter"
	"slices"
)

// nameKind is a name space of C, as far as names at the top level go.
type nameKind uint8

const (
	kindNone nameKind = iota
	kindStruct
	kindUnion
	kindEnum
	kindOrdinary // typedefs and base types
	kindVariable
	kindFunction
	kindEnumerator
)

func kindOfTag(tag uint16) nameKind {
	switch tag {
	case tagStructureType, tagClassType:
		return kindStruct
	case tagUnionType:
		return kindUnion
	case tagEnumerationType:
		return kindEnum
	case tagTypedef, tagBaseType:
		return kindOrdinary
	case tagVariable:
		return kindVariable
	case tagSubprogram:
		return kindFunction
	}
	return kindNone
}

// quality says which of several DIEs of one name is the one that is meant.
type quality uint8

const (
	declaration     quality = iota
	localDefinition         // static
	definition
)

// entry is a name with the DIE that defines it.
type entry struct {
	name    place
	die     place
	hash    uint32
	kind    nameKind
	quality quality
}

// better tells whether a DIE takes the entry's place: definitions go before
// declarations, then the first in the file wins.
func (e *entry) better(q quality, die place) bool {
	if q != e.quality {
		return q > e.quality
	}
	return die < e.die
}

// names is a hash table over names that stay where they are.
type names struct {
	space   *space
	entries []entry
	slots   []uint32 // index into entries plus one
}

func newNames(s *space) *names {
	return &names{space: s, slots: make([]uint32, 1<<12)}
}

// seed makes the hashes differ from run to run, so that nobody can prepare a
// file whose names all meet in one slot.
var seed = maphash.MakeSeed()

func hashName(kind nameKind, name []byte) uint32 {
	return uint32(maphash.Bytes(seed, name)) ^ uint32(kind)*0x9e3779b1
}

// find returns the entry of a name, or the slot where it belongs.
func (n *names) find(kind nameKind, hash uint32, equal func(place) bool) (index int, slot uint32) {
	mask := uint32(len(n.slots) - 1)
	for slot = hash & mask; n.slots[slot] != 0; slot = (slot + 1) & mask {
		e := &n.entries[n.slots[slot]-1]
		if e.hash == hash && e.kind == kind && equal(e.name) {
			return int(n.slots[slot] - 1), slot
		}
	}
	return -1, slot
}

func (n *names) lookup(kind nameKind, name string) (entry, bool) {
	i, _ := n.find(kind, hashName(kind, []byte(name)), func(p place) bool { return string(n.space.name(p)) == name })
	if i < 0 {
		return entry{}, false
	}
	return n.entries[i], true
}

func (n *names) all() iter.Seq[entry] { return slices.Values(n.entries) }

func (n *names) size() int { return len(n.entries) }

// add enters a DIE under a name, if it is better than what is there, and
// returns the index of the entry.
func (n *names) add(new entry, name []byte) int {
	i, slot := n.find(new.kind, new.hash, func(p place) bool {
		return p == new.name || string(n.space.name(p)) == string(name)
	})
	if i >= 0 {
		if e := &n.entries[i]; e.better(new.quality, new.die) {
			e.quality, e.die = new.quality, new.die
		}
		return i
	}
	n.entries = append(n.entries, new)
	n.slots[slot] = uint32(len(n.entries))
	if len(n.entries)*2 > len(n.slots) {
		n.grow()
	}
	return len(n.entries) - 1
}

func (n *names) grow() {
	n.slots = make([]uint32, 2*len(n.slots))
	mask := uint32(len(n.slots) - 1)
	for i := range n.entries {
		slot := n.entries[i].hash & mask
		for n.slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		n.slots[slot] = uint32(i + 1)
	}
}
