package debuginfo

import (
	"cmp"
	"debug/elf"
	"slices"
	"strings"

	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
)

// symbolsOf reads the symbols of the last file that has a table of them, or
// else those in .gnu_debugdata of the first.
func symbolsOf(files []*elffile.File) *Symbols {
	for i := len(files) - 1; i >= 0; i-- {
		if list, err := files[i].Symbols(); err == nil && len(list) > 0 {
			return NewSymbols(convertSymbols(files[i], list))
		}
	}
	if mini, err := files[0].MiniDebug(); err == nil && mini != nil {
		if list, err := mini.Symbols(); err == nil {
			return NewSymbols(convertSymbols(mini, list))
		}
	}
	return NewSymbols(nil)
}

// convertSymbols makes symbols of those in a file.
func convertSymbols(file *elffile.File, list []elffile.Symbol) []Symbol {
	list = slices.DeleteFunc(list, func(s elffile.Symbol) bool { return IsMapping(s.Name) })
	if !file.Relocatable() {
		list = asKallsyms(list)
	}
	symbols := make([]Symbol, 0, len(list))
	for i := range list {
		sym := &list[i]
		symbols = append(symbols, Symbol{
			Name:   cstr.Name(sym.Name),
			Addr:   sym.Value,
			Size:   sym.Size,
			Kind:   symbolKind(file, sym),
			Global: sym.Bind != elf.STB_LOCAL,
		})
	}
	if !file.Relocatable() {
		resizeText(symbols)
	}
	return symbols
}

// asKallsyms chooses and orders symbols as the kernel does for kallsyms: it leaves
// out assembly's constants.
func asKallsyms(list []elffile.Symbol) []elffile.Symbol {
	list = slices.DeleteFunc(list, func(s elffile.Symbol) bool {
		return s.Section == elf.SHN_ABS && s.Bind == elf.STB_LOCAL
	})
	slices.SortStableFunc(list, compareSymbols)
	return list
}

// compareSymbols orders symbols by address. Of several at one address the one that
// the kernel names it by comes last (compare_symbols in scripts/kallsyms.c): no weak
// one, no mark, with few underscores in front, and then by name, as nm sorts them.
func compareSymbols(a, b elffile.Symbol) int {
	return cmp.Or(
		cmp.Compare(a.Value, b.Value),
		first(b.Bind == elf.STB_WEAK, a.Bind == elf.STB_WEAK),
		first(IsMark(b.Name), IsMark(a.Name)),
		cmp.Compare(underscores(b.Name), underscores(a.Name)),
		cmp.Compare(b.Name, a.Name))
}

// first puts what is false before what is true.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func underscores(name string) int { return len(name) - len(strings.TrimLeft(name, "_")) }

// resizeText makes functions reach up to the next symbol, as the kernel has them
// when it prints function+0x1a/0x60 (get_symbol_pos in kernel/kallsyms.c): a
// symbol's own size leaves out what fills the room behind it. Marks get none where
// a function begins.
func resizeText(symbols []Symbol) {
	var group []*Symbol // at one address
	finish := func(next uint64) {
		for _, s := range group {
			if s.Kind == SymbolText && (len(group) == 1 || !IsMark(s.Name)) {
				s.Size = next - s.Addr
			}
		}
		group = group[:0]
	}
	for i := range symbols {
		s := &symbols[i]
		if s.Kind != SymbolText && s.Kind != SymbolData {
			continue
		}
		if len(group) > 0 && group[0].Addr != s.Addr {
			finish(s.Addr)
		}
		group = append(group, s)
	}
}

// IsMapping tells whether a symbol only says where instructions or data begin, as
// assemblers write them ($x, $d.3 of arm64), or is a label that is local to assembly
// (.L1 with a control character and a number); the kernel names nothing by them
// (ignored_prefixes in scripts/kallsyms.c, is_mapping_symbol in
// kernel/module/kallsyms.c).
func IsMapping(name string) bool {
	name = strings.TrimPrefix(name, "__kvm_nvhe_") // of the hypervisor's own code in the image
	return strings.HasPrefix(name, ".L") || len(name) > 1 && name[0] == '$' && strings.IndexByte("axdt", name[1]) >= 0 && (len(name) == 2 || name[2] == '.')
}

// IsMark tells the names that linker scripts give to the start and end of
// something, such as __start_orc_unwind and _etext.
func IsMark(name string) bool {
	if !strings.HasPrefix(name, "_") {
		return false
	}
	name = strings.TrimLeft(name, "_")
	for _, word := range []string{"start", "stop", "end"} {
		if strings.HasPrefix(name, word) || strings.HasSuffix(name, "_"+word) {
			return true
		}
	}
	switch name {
	case "text", "stext", "etext", "sdata", "edata", "sinittext", "einittext", "brk_base", "brk_limit":
		return true
	}
	return false
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
