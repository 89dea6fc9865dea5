package debuginfo

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo/btf"
)

// btfSource is BTF alone.
type btfSource struct {
	types *btf.Types
	from  string
}

// FromBTF makes a source of the types in BTF. It has no symbols, no build id,
// and of variables only those that are per CPU. What it came from is named in
// messages.
func FromBTF(types *btf.Types, from string) Source { return &btfSource{types, from} }

func (s *btfSource) BuildID() []byte   { return nil }
func (s *btfSource) Describe() string  { return s.from }
func (s *btfSource) Symbols() *Symbols { return NewSymbols(nil) }
func (s *btfSource) Close() error      { return nil }

func (s *btfSource) Type(name string) (*ctype.Type, error) {
	for _, want := range spellings(name) {
		if t := s.types.Type(want.kind, want.name); t != nil {
			return t, t.Body().Err
		}
	}
	return nil, s.missing("type", name, "")
}

func (s *btfSource) Variable(name string) (*ctype.Type, error) {
	if t := s.types.Variable(name); t != nil {
		return t, t.Body().Err
	}
	return nil, s.missing("variable", name, "; BTF has the types of per-CPU variables only, vmlinux with DWARF has those of all")
}

func (s *btfSource) Function(name string) (*ctype.Type, error) {
	if t := s.types.Function(name); t != nil {
		return t, t.Body().Err
	}
	return nil, s.missing("function", name, "")
}

func (s *btfSource) Enumerator(name string) (int64, *ctype.Type, error) {
	value, t, ok := s.types.Enumerator(name)
	if !ok {
		return 0, nil, s.missing("enumerator", name, "")
	}
	return value, t, nil
}

func (s *btfSource) missing(what, name, why string) error {
	return fmt.Errorf("%s %s: %w of %s%s", what, name, ErrNotFound, s.from, why)
}
