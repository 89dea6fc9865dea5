package dwarf

import "iter"

// nameTable is an index of names: made by scanning, or read from an index file.
type nameTable interface {
	// lookup finds the entry of a name.
	lookup(kind nameKind, name string) (entry, bool)
	// all goes over the entries.
	all() iter.Seq[entry]
	// size is the number of entries.
	size() int
}
