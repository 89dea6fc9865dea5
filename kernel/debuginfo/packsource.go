package debuginfo

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"sync"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo/btf"
	"github.com/kmortem/mortem/kernel/debuginfo/dwarf"
	"github.com/kmortem/mortem/kernel/debuginfo/mapfile"
	"github.com/kmortem/mortem/kernel/debuginfo/mpack"
)

// packSource is a kernel, or a module, in a pack file.
type packSource struct {
	path   string
	module string // empty for the kernel
	file   *mapfile.File
	pack   *mpack.Reader
	meta   packMeta
	btfSource

	symbols *Symbols
	lines   func() (*packedLines, error)
}

// HasModules is what a Source also implements when it has the debug information
// of modules.
type HasModules interface {
	// Modules are the names of the modules.
	Modules() []string
	// Module returns the debug information of one. It is not to be used after
	// the kernel's Close; its own Close does nothing.
	Module(name string) (Source, error)
}

// openPack opens a pack file.
func openPack(path string) (Source, error) {
	file, err := mapfile.Open(path)
	if err != nil {
		return nil, err
	}
	s := &packSource{path: path, file: file}
	err = mapfile.Guard(path, func() (err error) {
		if s.pack, err = mpack.NewReader(file.Data()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return s.load(nil)
	})
	if err != nil {
		file.Close()
		return nil, err
	}
	return s, nil
}

// load reads types and symbols, and leaves lines for later.
func (s *packSource) load(base *btf.Types) error {
	prefix := s.prefix()
	text, err := s.pack.Section(prefix + "meta")
	if err == nil {
		err = json.Unmarshal(text, &s.meta)
	}
	if err != nil {
		return fmt.Errorf("%s: %smeta: %w", s.path, prefix, err)
	}
	types, err := s.pack.Section(prefix + "types")
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	s.btfSource.from = s.Describe()
	if base == nil {
		s.types, err = btf.Parse(types)
	} else {
		s.types, err = btf.ParseSplit(types, base)
	}
	if err != nil {
		return fmt.Errorf("%s: %stypes: %w", s.path, prefix, err)
	}
	if s.symbols, err = s.readSymbols(prefix); err != nil {
		return fmt.Errorf("%s: %ssymbols: %w", s.path, prefix, err)
	}
	s.lines = sync.OnceValues(func() (*packedLines, error) { return s.readLines(prefix) })
	return nil
}

func (s *packSource) readSymbols(prefix string) (*Symbols, error) {
	data, err := s.pack.Section(prefix + "symbols")
	if err != nil {
		return nil, err
	}
	return decodeSymbols(data)
}

func (s *packSource) readLines(prefix string) (lines *packedLines, err error) {
	err = mapfile.Guard(s.path, func() error {
		data, err := s.pack.Section(prefix + "lines")
		if err != nil || data == nil {
			return err
		}
		lines, err = decodeLines(data)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %slines: %w", s.path, prefix, err)
	}
	if lines == nil {
		lines = &packedLines{}
	}
	return lines, nil
}

func (s *packSource) BuildID() []byte {
	id, err := hex.DecodeString(s.meta.BuildID)
	if err != nil || len(id) == 0 {
		return nil
	}
	return id
}

func (s *packSource) Describe() string {
	if s.module != "" {
		return fmt.Sprintf("%s (pack, module %s)", s.path, s.module)
	}
	return s.path + " (pack)"
}

func (s *packSource) Symbols() *Symbols { return s.symbols }

// Close unmaps the file; that of a module leaves it to the kernel's.
func (s *packSource) Close() error {
	if s.module != "" {
		return nil
	}
	return s.file.Close()
}

func (s *packSource) Variable(name string) (*ctype.Type, error) {
	if t := s.types.Variable(name); t != nil {
		return t, t.Body().Err
	}
	return nil, s.missing("variable", name, "")
}

func (s *packSource) Line(addr uint64) (Line, bool) {
	line, ok, _ := s.line(addr)
	return line, ok
}

// line returns the line of an address; the error says that lines are damaged.
func (s *packSource) line(addr uint64) (line Line, ok bool, err error) {
	lines, err := s.lines()
	if err != nil {
		return Line{}, false, err
	}
	err = mapfile.Guard(s.path, func() (err error) {
		line, ok, err = lines.find(addr)
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", s.path, err)
	}
	return line, ok, err
}

// Locals are not in packs.
func (s *packSource) Locals() bool { return false }

// Frames knows nothing of inlined functions. Where lines are damaged it returns the
// function with the error.
func (s *packSource) Frames(addr uint64) ([]Frame, error) {
	sym, ok := s.Symbols().Containing(addr)
	if !ok || sym.Kind != SymbolText {
		return nil, nil
	}
	line, _, err := s.line(addr)
	f := Frame{Name: sym.Name, Line: line, Ranges: []dwarf.Range{{Low: sym.Addr, High: sym.Addr + sym.Size}}}
	f.Type = s.types.Function(sym.Name)
	return []Frame{f}, err
}

func (s *packSource) Section(name string) (data []byte, addr uint64, err error) {
	for _, have := range s.meta.Sections {
		if have.Name != name {
			continue
		}
		err = mapfile.Guard(s.path, func() error {
			data, err = s.pack.Section(s.prefix() + "section" + name)
			return err
		})
		return data, have.Addr, err
	}
	return nil, 0, nil
}

// prefix is what the names of the pack's sections begin with.
func (s *packSource) prefix() string {
	if s.module == "" {
		return ""
	}
	return modulePrefix(s.module)
}

func (s *packSource) Loaded() []SectionAddr { return s.meta.Loaded }

func (s *packSource) Modules() []string { return s.meta.Modules }

func (s *packSource) Module(name string) (Source, error) {
	m := &packSource{path: s.path, module: name, file: s.file, pack: s.pack}
	err := mapfile.Guard(s.path, func() error {
		if text, err := s.pack.Section(modulePrefix(name) + "meta"); err == nil && text == nil {
			return fmt.Errorf("module %s: %w of %s", name, ErrNotFound, s.path)
		}
		return m.load(s.types)
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (s *packSource) Types() iter.Seq[string]       { return typeNames(s.types.Types()) }
func (s *packSource) Variables() iter.Seq[string]   { return s.types.Variables() }
func (s *packSource) Functions() iter.Seq[string]   { return s.types.Functions() }
func (s *packSource) Enumerators() iter.Seq[string] { return s.types.Enumerators() }
