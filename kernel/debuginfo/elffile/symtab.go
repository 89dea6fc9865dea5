package elffile

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/kernel/debuginfo/mapfile"
)

const (
	symbolSize = 24   // Elf64_Sym
	maxName    = 4096 // longer names are damage; the kernel's own limit is 512 (KSYM_NAME_LEN since 6.1)
)

// Symbol is one entry of the symbol table (Elf64_Sym) that names a place.
type Symbol struct {
	Name    string           // as it is in the file: it may hold anything
	Value   uint64           // virtual address, as linked; in object files made up, see File.Loaded
	Size    uint64           // bytes
	Type    elf.SymType      // function, object, …
	Bind    elf.SymBind      // local, global or weak
	Section elf.SectionIndex // where it is defined, or SHN_ABS
}

// Symbols reads the symbol table .symtab. Undefined symbols, names of files and
// sections, and names that lie outside the string table are left out. There are
// none in a file without such a table. It fails where the table is damaged.
func (f *File) Symbols() ([]Symbol, error) {
	var list []Symbol
	err := mapfile.Guard(f.path, func() (err error) {
		list, err = f.readSymbols()
		return err
	})
	return list, err
}

func (f *File) readSymbols() ([]Symbol, error) {
	i := f.symbolTable()
	if i < 0 {
		return nil, nil
	}
	table := f.elf.Sections[i]
	if !f.Is64() || int(table.Link) >= len(f.elf.Sections) {
		return nil, fmt.Errorf("%s: section %s at %#x: not a 64-bit table with names", f.path, table.Name, table.Offset)
	}
	entries, err := f.sectionAt(i)
	if err != nil {
		return nil, err
	}
	raw, err := f.sectionAt(int(table.Link))
	if err != nil {
		return nil, err
	}
	names := string(raw) // one allocation for all names, which outlive the mapping
	list := make([]Symbol, 0, len(entries)/symbolSize)
	for at := 0; at+symbolSize <= len(entries); at += symbolSize {
		if sym, ok := f.symbol(entries[at:at+symbolSize], names, raw); ok {
			list = append(list, sym)
		}
	}
	return list, nil
}

func (f *File) symbolTable() int {
	for i, s := range f.elf.Sections {
		if s.Type == elf.SHT_SYMTAB {
			return i
		}
	}
	return -1
}

func (f *File) symbol(entry []byte, names string, raw []byte) (Symbol, bool) {
	le := binary.LittleEndian
	sym := Symbol{
		Type:    elf.ST_TYPE(entry[4]),
		Bind:    elf.ST_BIND(entry[4]),
		Section: elf.SectionIndex(le.Uint16(entry[6:])),
		Value:   le.Uint64(entry[8:]),
		Size:    le.Uint64(entry[16:]),
	}
	sym.Value = f.placed(sym.Section, sym.Value)
	name := uint64(le.Uint32(entry))
	if sym.Section == elf.SHN_UNDEF || sym.Type == elf.STT_FILE || sym.Type == elf.STT_SECTION || name == 0 || name >= uint64(len(raw)) {
		return Symbol{}, false
	}
	end := bytes.IndexByte(raw[name:min(name+maxName, uint64(len(raw)))], 0)
	if end <= 0 {
		return Symbol{}, false
	}
	sym.Name = names[name : name+uint64(end)]
	return sym, true
}

// SectionOf describes the section that a symbol lies in.
func (f *File) SectionOf(sym Symbol) (elf.SectionHeader, bool) {
	if sym.Section >= elf.SHN_LORESERVE || int(sym.Section) >= len(f.elf.Sections) {
		return elf.SectionHeader{}, false
	}
	return f.elf.Sections[sym.Section].SectionHeader, true
}
