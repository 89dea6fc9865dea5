package module

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kallsyms"
)

// findSymtab notes where the module's symbols are.
func (r *Reader) findSymtab(m *Module, b []byte) {
	l := &r.module
	if !l.Kallsyms.Has() {
		m.symtab, m.strtab, m.symbols = l.Symtab.Or0(b), l.Strtab.Or0(b), l.Symbols.Or0(b)
		return
	}
	table := l.Kallsyms.Get(b)
	if table == 0 || !r.symbols {
		return
	}
	k, err := r.k.Peek(table, make([]byte, r.kallsyms.Span()))
	if err != nil {
		return
	}
	m.symtab, m.strtab, m.symbols = r.kallsyms.Symtab.Get(k), r.kallsyms.Strtab.Get(k), r.kallsyms.Symbols.Get(k)
	m.typetab = r.kallsyms.Typetab.Or0(k)
}

// Bounds of a module's symbols; the largest modules have some 60,000.
const (
	maxSymbols = 1 << 20
	maxStrings = 64 << 20
	maxName    = 1 << 10
	symSize    = 24 // Elf64_Sym
)

// Symbols returns the symbols that the kernel keeps of a module, with runtime addresses,
// in ascending order, without those that only mark code and data; of several at one
// address the one that the kernel names it by comes first. The addresses of per-CPU
// variables are those in Module.PerCPU. Kernels without
// CONFIG_KALLSYMS_ALL keep functions only. The size of a symbol is the distance to the
// next one, or to the end of the module's code, data or per-CPU variables. The error wraps a *kernel.ReadError where
// its tables cannot be read.
func (r *Reader) Symbols(m *Module) ([]debuginfo.Symbol, error) {
	if m.symbols == 0 || m.symtab == 0 || m.strtab == 0 {
		return nil, nil
	}
	if m.symbols > maxSymbols {
		return nil, fmt.Errorf("symbols of module %s: %d are too many to be true", m.Name, m.symbols)
	}
	table := make([]byte, uint64(m.symbols)*symSize)
	if _, err := r.k.Read(table, m.symtab); err != nil {
		return nil, fmt.Errorf("symbols of module %s: %w", m.Name, err)
	}
	names, err := r.strings(m, table)
	if err != nil {
		return nil, fmt.Errorf("symbols of module %s: their names: %w", m.Name, err)
	}
	var letters []byte
	if m.typetab != 0 {
		letters = make([]byte, m.symbols)
		n, _ := r.k.Read(letters, m.typetab)
		letters = letters[:n]
	}
	list := decode(table, names, letters)
	m.resize(list)
	return list, nil
}

// strings reads as much of the string table as the symbols refer to. Memory
// that cannot be read behind the last name does no harm.
func (r *Reader) strings(m *Module, table []byte) ([]byte, error) {
	last := uint64(0)
	for ; len(table) > 0; table = table[symSize:] {
		if at := uint64(binary.LittleEndian.Uint32(table)); at < maxStrings {
			last = max(last, at)
		}
	}
	names := make([]byte, last+maxName)
	n, err := r.k.Read(names, m.strtab)
	if uint64(n) <= last && err != nil {
		return nil, err
	}
	return names[:n], nil
}

// decode makes symbols of an ELF symbol table in which the kernel has replaced
// section numbers by addresses. Letters are those of nm; before 5.0 the kernel
// kept them in place of st_info.
func decode(table, names, letters []byte) []debuginfo.Symbol {
	var list []debuginfo.Symbol
	text := 0 // damaged tables can have one long name again and again
	for i := 1; (i+1)*symSize <= len(table) && text < maxStrings; i++ {
		e := table[i*symSize:]
		name, ok := nameAt(names, binary.LittleEndian.Uint32(e))
		section := binary.LittleEndian.Uint16(e[6:])
		if !ok || name == "" || debuginfo.IsMapping(name) || elf.SectionIndex(section) == elf.SHN_UNDEF {
			continue
		}
		text += len(name)
		s := debuginfo.Symbol{Name: name, Addr: binary.LittleEndian.Uint64(e[8:])}
		letter, info := e[4], e[4]
		if i < len(letters) {
			letter = letters[i]
		}
		if letter >= 'A' && letter <= 'z' {
			s.Kind, s.Global = kallsyms.Kind(letter)
		} else {
			s.Kind = kindOf(info)
		}
		if info < 'A' {
			s.Global = elf.ST_BIND(info) != elf.STB_LOCAL
		}
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(a, b debuginfo.Symbol) int { return cmp.Compare(a.Addr, b.Addr) })
	return list
}

func kindOf(info byte) debuginfo.SymbolKind {
	switch elf.ST_TYPE(info) {
	case elf.STT_FUNC:
		return debuginfo.SymbolText
	case elf.STT_OBJECT:
		return debuginfo.SymbolData
	}
	return debuginfo.SymbolOther
}

func nameAt(names []byte, at uint32) (string, bool) {
	if uint64(at) >= uint64(len(names)) {
		return "", false
	}
	part := names[at:min(uint64(len(names)), uint64(at)+maxName)]
	end := bytes.IndexByte(part, 0)
	if end < 0 {
		return "", false
	}
	return cstr.Show(part[:end]), true
}

// resize gives the symbols their sizes, as find_kallsyms_symbol in
// kernel/module/kallsyms.c does for messages.
func (m *Module) resize(list []debuginfo.Symbol) {
	for i, next := len(list)-1, uint64(0); i >= 0; i-- {
		if i+1 < len(list) && list[i+1].Addr != list[i].Addr {
			next = list[i+1].Addr
		}
		region, ok := m.Region(list[i].Addr)
		if !ok {
			region.Range = m.PerCPU
		}
		if !region.Contains(list[i].Addr) {
			continue
		}
		end := region.Addr + region.Size
		if region.Text.Contains(list[i].Addr) {
			end = region.Text.Addr + region.Text.Size
		}
		if next > list[i].Addr && next < end {
			end = next
		}
		list[i].Size = end - list[i].Addr
	}
}
