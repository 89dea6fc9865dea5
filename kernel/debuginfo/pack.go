package debuginfo

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/kmortem/mortem/kernel/debuginfo/btfwrite"
	"github.com/kmortem/mortem/kernel/debuginfo/dwarf"
	"github.com/kmortem/mortem/kernel/debuginfo/mpack"
)

// packMeta is the section "meta" of a pack file, and of each module in it.
type packMeta struct {
	BuildID  string        `json:"build_id"`
	From     string        `json:"from"` // base name of the file that it was made from
	Loaded   []SectionAddr `json:"loaded,omitempty"`
	Sections []packSection `json:"sections,omitempty"`
	Modules  []string      `json:"modules,omitempty"`
}

// packSection is a section of the ELF file that the pack file has.
type packSection struct {
	Name string `json:"name"`
	Addr uint64 `json:"addr"`
}

// carried are the sections of vmlinux that unwinders need.
var carried = []string{".orc_unwind_ip", ".orc_unwind", ".orc_header", ".debug_frame", ".eh_frame"}

// carriedOfModules leaves out ORC, which the kernel sorts when it loads a module:
// it is read from the dump.
var carriedOfModules = []string{".debug_frame"}

// lineTables is a source with line tables.
type lineTables interface {
	eachLineTable(visit func(rows []dwarf.LineRow) bool) error
}

func (s *elfSource) eachLineTable(visit func(rows []dwarf.LineRow) bool) error {
	return s.dwarf.EachLineTable(visit)
}

// Module is the debug information of a module, by the module's name.
type Module struct {
	Name   string // as /proc/modules has it
	Source Source // of its .ko, or of the debug file of that
}

// WritePack writes a pack file: the types, symbols, unwind tables and line
// tables of a kernel, and the types, symbols and line tables of modules, in a
// hundredth of the space. Open takes it in place of vmlinux. What it has not:
// local variables, and which functions are inlined where. The file gets its
// name when it is complete. Of debug information that is damaged none is made.
// Errors are those of writing, or say what is damaged.
func WritePack(path string, kernel Source, modules []Module) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer temp.Close()
	err = writePack(temp, kernel, modules)
	if err == nil {
		err = temp.Chmod(0o644)
	}
	if err == nil {
		err = temp.Close()
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		os.Remove(temp.Name())
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func writePack(file *os.File, kernel Source, modules []Module) error {
	w, err := mpack.NewWriter(file)
	if err != nil {
		return err
	}
	meta := packMeta{}
	for _, m := range modules {
		meta.Modules = append(meta.Modules, m.Name)
	}
	base := btfwrite.New(nil)
	if err := addSource(w, "", kernel, base, meta); err != nil {
		return err
	}
	for _, m := range modules {
		if err := addSource(w, modulePrefix(m.Name), m.Source, btfwrite.New(base), packMeta{}); err != nil {
			return err
		}
	}
	return w.Close()
}

func modulePrefix(name string) string { return "module/" + name + "/" }

// addSource writes the sections of one kernel or module.
func addSource(w *mpack.Writer, prefix string, src Source, enc *btfwrite.Encoder, meta packMeta) error {
	meta.BuildID = hex.EncodeToString(src.BuildID())
	meta.From = filepath.Base(src.Describe())
	if s, ok := src.(Sections); ok {
		meta.Loaded = s.Loaded()
		if err := addSections(w, prefix, s, &meta); err != nil {
			return err
		}
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	types, err := encodeTypes(src, enc)
	if err != nil {
		return err
	}
	if damage := DamageOf(src); damage != nil {
		return fmt.Errorf("a pack would not tell what is lost of damaged debug information: %w", damage)
	}
	var lines []byte
	if l, ok := src.(lineTables); ok {
		if lines, err = encodeLines(l.eachLineTable); err != nil {
			return err
		}
	}
	return errors.Join(
		w.Add(prefix+"meta", text, false),
		w.Add(prefix+"types", types, false),
		w.Add(prefix+"symbols", encodeSymbols(src.Symbols()), false),
		w.Add(prefix+"lines", lines, true))
}

// addSections writes the sections that unwinders need.
func addSections(w *mpack.Writer, prefix string, src Sections, meta *packMeta) error {
	names := carried
	if prefix != "" {
		names = carriedOfModules
	}
	for _, name := range names {
		data, addr, err := src.Section(name)
		if err != nil {
			return err
		}
		if len(data) == 0 {
			continue
		}
		if err := w.Add(prefix+"section"+name, data, false); err != nil {
			return err
		}
		meta.Sections = append(meta.Sections, packSection{name, addr})
	}
	return nil
}

// encodeTypes turns all named types, variables and functions into BTF, in the
// order of their names.
func encodeTypes(src Source, enc *btfwrite.Encoder) ([]byte, error) {
	names, ok := src.(Names)
	if !ok {
		return nil, fmt.Errorf("%s: a pack file is made of a vmlinux with DWARF", src.Describe())
	}
	for _, name := range slices.Sorted(names.Types()) {
		t, err := src.Type(name)
		if err != nil {
			return nil, err
		}
		enc.Type(t)
	}
	for _, name := range slices.Sorted(names.Enumerators()) { // many enums have no name
		if _, t, err := src.Enumerator(name); err == nil {
			enc.Type(t)
		}
	}
	for _, name := range slices.Sorted(names.Variables()) {
		t, err := src.Variable(name)
		if err != nil {
			return nil, err
		}
		enc.Variable(name, t)
	}
	for _, name := range slices.Sorted(names.Functions()) {
		t, err := src.Function(name)
		if err != nil {
			return nil, err
		}
		enc.Function(name, t)
	}
	return enc.Encode()
}
