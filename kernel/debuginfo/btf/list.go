package btf

import (
	"iter"

	"github.com/kmortem/mortem/kernel/ctype"
)

// Types goes over the names of all structs, unions, enums, typedefs and base
// types, without those of the base; Type takes them. Base types come with the
// kind ctype.Typedef. A name can come more than once.
func (t *Types) Types() iter.Seq2[ctype.Kind, string] {
	kinds := [...]ctype.Kind{classStruct: ctype.Struct, classUnion: ctype.Union, classEnum: ctype.Enum, classOrdinary: ctype.Typedef}
	return func(yield func(ctype.Kind, string) bool) {
		for c, name := range t.named {
			if int(c) < len(kinds) && !yield(kinds[c], name) {
				return
			}
		}
	}
}

// Variables goes over the names of the variables, without those of the base.
func (t *Types) Variables() iter.Seq[string] { return t.namesOf(classVariable) }

// Functions goes over the names of the functions, without those of the base.
func (t *Types) Functions() iter.Seq[string] { return t.namesOf(classFunction) }

// Enumerators goes over the names of the constants of all enums, without those
// of the base.
func (t *Types) Enumerators() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range t.records.count() {
			r := t.records.at(i)
			if r.kind != kindEnum && r.kind != kindEnum64 {
				continue
			}
			for at := range r.n {
				if name := t.strings.at(r.constantName(at)); name != "" && !yield(name) {
					return
				}
			}
		}
	}
}

func (t *Types) namesOf(want class) iter.Seq[string] {
	return func(yield func(string) bool) {
		for c, name := range t.named {
			if c == want && !yield(name) {
				return
			}
		}
	}
}

// named goes over all that has a name of C's.
func (t *Types) named(yield func(class, string) bool) {
	for i := range t.records.count() {
		r := t.records.at(i)
		c := r.class()
		if c == classNone {
			continue
		}
		if name := t.strings.at(r.name); name != "" && !yield(c, name) {
			return
		}
	}
}
