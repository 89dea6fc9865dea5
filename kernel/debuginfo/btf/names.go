package btf

import "hash/maphash"

// class divides names, for a struct may be called as a typedef or a function.
type class uint8

const (
	classNone class = iota
	classStruct
	classUnion
	classEnum
	classOrdinary // typedefs and base types
	classFunction
	classVariable
)

func (r *record) class() class {
	switch r.kind {
	case kindStruct:
		return classStruct
	case kindUnion:
		return classUnion
	case kindEnum, kindEnum64:
		return classEnum
	case kindFwd:
		if r.flag {
			return classUnion
		}
		return classStruct
	case kindInt, kindFloat, kindTypedef:
		return classOrdinary
	case kindFunc:
		return classFunction
	case kindVar:
		return classVariable
	}
	return classNone
}

// declares tells whether the type is only declared. An enum without constants
// stands for a declaration.
func (r *record) declares() bool {
	return r.kind == kindFwd || (r.kind == kindEnum || r.kind == kindEnum64) && r.n == 0
}

// index is a hash table of numbered things with names.
type index struct {
	heads []uint32 // numbers plus one
	next  []uint32 // by number
}

// newIndex makes room for so many numbers.
func newIndex(n int) index {
	size := 16
	for size < n {
		size *= 2
	}
	return index{heads: make([]uint32, size), next: make([]uint32, n)}
}

// put enters a number in front of those entered before.
func (x *index) put(hash uint32, i int) {
	head := &x.heads[hash&uint32(len(x.heads)-1)]
	x.next[i], *head = *head, uint32(i+1)
}

// each yields the numbers whose names may have the hash, the last one entered
// first.
func (x *index) each(hash uint32) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := x.heads[hash&uint32(len(x.heads)-1)]; i != 0 && yield(int(i-1)); i = x.next[i-1] {
		}
	}
}

// seed makes the hashes differ from run to run, so that nobody can prepare BTF whose
// names all meet in one chain.
var seed = maphash.MakeSeed()

func hashName(c class, name string) uint32 {
	return uint32(maphash.String(seed, name)) ^ uint32(c)*0x9e3779b1
}

// indexNames enters all types that have names, so that of those of one name the
// first definition is found first, and a declaration only where there is none.
func (t *Types) indexNames() {
	n := t.records.count()
	t.names = newIndex(n)
	for i := n - 1; i >= 0; i-- {
		if r := t.records.at(i); r.declares() {
			t.indexName(i, &r)
		}
	}
	for i := n - 1; i >= 0; i-- {
		r := t.records.at(i)
		if (r.kind == kindEnum || r.kind == kindEnum64) && r.flag {
			t.signs = true
		}
		if !r.declares() {
			t.indexName(i, &r)
		}
	}
	t.signs = t.signs || t.base != nil && t.base.signs
}

func (t *Types) indexName(i int, r *record) {
	c := r.class()
	if c == classNone {
		return
	}
	if name := t.strings.at(r.name); name != "" {
		t.names.put(hashName(c, name), i)
	}
}

// find returns the number of the type of a name: of a definition where there
// is one, here or in the base.
func (t *Types) find(c class, name string) (id uint32, ok bool) {
	if name == "" {
		return 0, false
	}
	hash := hashName(c, name)
	for s := t; s != nil; s = s.base {
		for i := range s.names.each(hash) {
			r := s.records.at(i)
			if r.class() != c || s.strings.at(r.name) != name {
				continue
			}
			if !r.declares() {
				return s.first + uint32(i), true
			}
			if !ok {
				id, ok = s.first+uint32(i), true
			}
			break // behind declarations there are no definitions
		}
	}
	return id, ok
}
