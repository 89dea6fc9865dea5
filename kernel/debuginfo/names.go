package debuginfo

import (
	"iter"

	"github.com/kmortem/mortem/kernel/ctype"
)

// Names is what a Source also implements when it can tell the names that it
// has, in no particular order.
type Names interface {
	// Types are the names of structs, unions, enums, typedefs and base types,
	// in the spelling that Source.Type takes: "struct dentry", "u64".
	Types() iter.Seq[string]
	// Variables are the names of variables.
	Variables() iter.Seq[string]
	// Functions are the names of functions.
	Functions() iter.Seq[string]
	// Enumerators are the names of the constants of enums.
	Enumerators() iter.Seq[string]
}

// Ambiguous is what a Source also implements when it can tell about names that
// stand for several types: files can have structs of their own that share one.
type Ambiguous interface {
	// AllTypes returns all different types of a name; the one that Source.Type
	// returns comes first. Those inside of functions, which Source.Type does
	// not look for, are among them. This takes longer than opening.
	AllTypes(name string) ([]*ctype.Type, error)
}

func (s *elfSource) AllTypes(name string) ([]*ctype.Type, error) {
	for _, want := range spellings(name) {
		if list := s.dwarf.AllTypes(want.kind, want.name); list != nil {
			return list, nil
		}
	}
	return nil, s.missing("type", name)
}

func (s *elfSource) Types() iter.Seq[string]       { return typeNames(s.dwarf.Types()) }
func (s *elfSource) Variables() iter.Seq[string]   { return s.dwarf.Variables() }
func (s *elfSource) Functions() iter.Seq[string]   { return s.dwarf.Functions() }
func (s *elfSource) Enumerators() iter.Seq[string] { return s.dwarf.Enumerators() }

// typeNames spells the names of types.
func typeNames(types iter.Seq2[ctype.Kind, string]) iter.Seq[string] {
	return func(yield func(string) bool) {
		for kind, name := range types {
			if word := kind.Keyword(); word != "" {
				name = word + " " + name
			}
			if !yield(name) {
				return
			}
		}
	}
}
