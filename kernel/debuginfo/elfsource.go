package debuginfo

import (
	"debug/elf"
	"fmt"
	"sync"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo/dwarf"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
)

// elfSource is an ELF file with DWARF and a symbol table.
type elfSource struct {
	path  string
	elf   *elffile.File
	dwarf *dwarf.Data

	symbolsOnce sync.Once
	symbols     *Symbols
}

func openDWARF(path string, file *elffile.File, _ *options) (Source, error) {
	sections, err := debugSections(path, file)
	if err != nil {
		return nil, err
	}
	data, err := dwarf.New(sections, dwarf.Options{
		Release: file.Release,
		Guard:   func(read func() error) error { return elffile.Guard(path, read) },
	})
	if err != nil {
		return nil, err
	}
	return &elfSource{path: path, elf: file, dwarf: data}, nil
}

// debugSections collects the sections that the DWARF reader wants.
func debugSections(path string, file *elffile.File) (dwarf.Sections, error) {
	s := dwarf.Sections{File: path}
	for _, want := range []struct {
		name string
		data *[]byte
	}{
		{".debug_info", &s.Info},
		{".debug_types", &s.Types},
		{".debug_abbrev", &s.Abbrev},
		{".debug_str", &s.Str},
		{".debug_line_str", &s.LineStr},
		{".debug_str_offsets", &s.StrOffsets},
		{".debug_addr", &s.Addr},
	} {
		var err error
		if *want.data, err = file.Section(want.name); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *elfSource) BuildID() []byte  { return s.elf.BuildID() }
func (s *elfSource) Describe() string { return s.path + " (DWARF)" }
func (s *elfSource) Close() error     { return s.elf.Close() }

func (s *elfSource) Type(name string) (*ctype.Type, error) {
	for _, want := range spellings(name) {
		if t := s.dwarf.Type(want.kind, want.name); t != nil {
			return t, t.Body().Err
		}
	}
	return nil, s.missing("type", name)
}

func (s *elfSource) Variable(name string) (*ctype.Type, error) {
	t, err := s.dwarf.Variable(name)
	if t == nil && err == nil {
		err = s.missing("variable", name)
	}
	return t, err
}

func (s *elfSource) Function(name string) (*ctype.Type, error) {
	t, err := s.dwarf.Function(name)
	if t == nil && err == nil {
		err = s.missing("function", name)
	}
	return t, err
}

func (s *elfSource) Enumerator(name string) (int64, *ctype.Type, error) {
	value, t, ok := s.dwarf.Enumerator(name)
	if !ok {
		return 0, nil, s.missing("enumerator", name)
	}
	return value, t, nil
}

// missing is the error for a name that is not there, with the damage that may
// be why.
func (s *elfSource) missing(what, name string) error {
	if damage := s.dwarf.Damage(); damage != nil {
		return fmt.Errorf("%s %s: %w of %s, parts of which are damaged (%v)", what, name, ErrNotFound, s.path, damage)
	}
	return fmt.Errorf("%s %s: %w of %s", what, name, ErrNotFound, s.path)
}

func (s *elfSource) Symbols() *Symbols {
	s.symbolsOnce.Do(func() {
		list, err := s.elf.Symbols()
		if err != nil {
			list = nil
		}
		s.symbols = NewSymbols(convertSymbols(s.elf, list))
	})
	return s.symbols
}

// convertSymbols tells apart the kinds of symbols by the sections they are in.
func convertSymbols(file *elffile.File, list []elffile.Symbol) []Symbol {
	symbols := make([]Symbol, 0, len(list))
	for i := range list {
		sym := &list[i]
		symbols = append(symbols, Symbol{
			Name:   sym.Name,
			Addr:   sym.Value,
			Size:   sym.Size,
			Kind:   symbolKind(file, sym),
			Global: sym.Bind != elf.STB_LOCAL,
		})
	}
	return symbols
}

func symbolKind(file *elffile.File, sym *elffile.Symbol) SymbolKind {
	section, ok := file.SectionOf(*sym)
	switch {
	case sym.Section == elf.SHN_ABS:
		return SymbolAbsolute
	case !ok:
		return SymbolOther
	case section.Name == ".data..percpu" && section.Addr == 0 && !file.Relocatable():
		return SymbolAbsolute // x86-64 before 6.15: offsets into each CPU's area
	case section.Flags&elf.SHF_EXECINSTR != 0:
		return SymbolText
	case section.Flags&elf.SHF_ALLOC != 0:
		return SymbolData
	}
	return SymbolOther
}
