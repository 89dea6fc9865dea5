package debuginfo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo/dwarf"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
	"github.com/kmortem/mortem/kernel/debuginfo/mapfile"
)

// elfSource is an ELF file with DWARF and a symbol table.
type elfSource struct {
	path  string
	files []*elffile.File // the one given, the one with the debug sections, the one shared with others
	dwos  []*elffile.File // split debug information
	dwarf *dwarf.Data
	index *indexStore

	symbolsOnce sync.Once
	symbols     *Symbols
}

// openDWARF reads the debug information of a file, from there or from where it
// was separated to. It closes the file when it fails.
func openDWARF(path string, file *elffile.File, o *options) (Source, error) {
	s := &elfSource{path: path, files: []*elffile.File{file}}
	err := s.open(file, o)
	if err == nil {
		return s, nil
	}
	if errors.Is(err, dwarf.ErrNoDWARF) && file.HasSection(".BTF") && !file.Relocatable() {
		if src, err := openBTF(path, file); err == nil {
			return src, nil // without the other files, which have no use
		}
	}
	if errors.Is(err, dwarf.ErrNoDWARF) && file.HasSection(".BTF") {
		err = fmt.Errorf("%w: %w", err, errModuleBTF)
	}
	s.Close()
	return nil, err
}

// errModuleBTF is for a module that has BTF and no DWARF: that continues the BTF of
// its kernel, or what .BTF.base keeps of it (since 6.11).
var errModuleBTF = errors.New("the BTF of a module means nothing without that of its kernel, which dumps hold together")

func (s *elfSource) open(file *elffile.File, o *options) error {
	if !file.HasSection(".debug_info") {
		debug, err := separated(file, o)
		if err != nil {
			return err
		}
		if debug != nil {
			s.files = append(s.files, debug)
			file = debug
		}
	}
	sections, err := debugSections(s.path, file, "")
	if err != nil {
		return err
	}
	opts := dwarf.Options{
		Release: file.Release,
		Guard:   func(read func() error) error { return mapfile.Guard(s.path, read) },
		Split:   s.split,
	}
	if opts.Alt, err = s.alternate(file, o); err != nil {
		return err
	}
	if s.index = newIndexStore(file, &sections, opts.Alt, o); s.index != nil {
		opts.Store = s.index
	}
	s.dwarf, err = dwarf.New(sections, opts)
	return err
}

// alternate opens the file that dwz made of what several have in common.
func (s *elfSource) alternate(file *elffile.File, o *options) (*dwarf.Sections, error) {
	alt, err := alternate(file, o)
	if alt == nil {
		return nil, err
	}
	s.files = append(s.files, alt)
	sections, err := debugSections(alt.Path(), alt, "")
	return &sections, err
}

// split opens a .dwo file: at its place in the build directory, or beside the
// file that names it.
func (s *elfSource) split(name, compDir string) (dwarf.Sections, error) {
	dir := filepath.Dir(s.files[len(s.files)-1].Path())
	places := []string{filepath.Join(dir, name), filepath.Join(dir, filepath.Base(name))}
	if filepath.IsAbs(name) {
		places = append(places, name)
	} else if compDir != "" {
		places = append(places, filepath.Join(compDir, name))
	}
	for _, path := range places {
		if file, err := elffile.Open(path); err == nil {
			s.dwos = append(s.dwos, file)
			return debugSections(path, file, ".dwo")
		}
	}
	if _, err := os.Stat(s.path + ".dwp"); err == nil {
		return dwarf.Sections{}, fmt.Errorf("%s: split debug information %s is not there, and %s.dwp is a package of such, which is not supported: the .dwo files are needed", s.path, name, s.path)
	}
	return dwarf.Sections{}, fmt.Errorf("%s: split debug information %s: %w", s.path, name, os.ErrNotExist)
}

// debugSections collects the sections that the DWARF reader wants. In split
// debug information their names have a suffix.
func debugSections(path string, file *elffile.File, suffix string) (dwarf.Sections, error) {
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
		{".debug_names", &s.Names},
	} {
		var err error
		if *want.data, err = file.Section(want.name + suffix); err != nil {
			return s, err
		}
	}
	s.Code = func() dwarf.CodeSections { return codeSections(file, suffix) }
	return s, nil
}

// codeSections collects the sections about code. One that is damaged is taken
// for missing: types do not depend on it.
func codeSections(file *elffile.File, suffix string) dwarf.CodeSections {
	section := func(name string) []byte {
		data, _ := file.Section(name + suffix)
		return data
	}
	return dwarf.CodeSections{
		Line:     section(".debug_line"),
		Aranges:  section(".debug_aranges"),
		Ranges:   section(".debug_ranges"),
		Rnglists: section(".debug_rnglists"),
		Loc:      section(".debug_loc"),
		Loclists: section(".debug_loclists"),
	}
}

func (s *elfSource) BuildID() []byte  { return s.files[0].BuildID() }
func (s *elfSource) Describe() string { return s.path + " (DWARF)" }

// Close unmaps all files.
func (s *elfSource) Close() error {
	var err error
	for _, file := range append(s.files, s.dwos...) {
		err = errors.Join(err, file.Close())
	}
	if s.index != nil {
		s.index.close()
	}
	return err
}

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

// Damage is that of the DWARF.
func (s *elfSource) Damage() error { return s.dwarf.Damage() }

// missing is the error for a name that is not there, with the damage that may
// be why.
func (s *elfSource) missing(what, name string) error {
	if damage := s.dwarf.Damage(); damage != nil {
		return fmt.Errorf("%s %s: %w of %s, parts of which are damaged (%v)", what, name, ErrNotFound, s.path, damage)
	}
	return fmt.Errorf("%s %s: %w of %s", what, name, ErrNotFound, s.path)
}

func (s *elfSource) Symbols() *Symbols {
	s.symbolsOnce.Do(func() { s.symbols = symbolsOf(s.files) })
	return s.symbols
}
