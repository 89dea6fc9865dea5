package debuginfo

import (
	"sort"
)

// SymbolKind tells what a symbol stands for.
type SymbolKind uint8

// The kinds of symbols.
const (
	SymbolOther SymbolKind = iota
	SymbolText
	SymbolData
	SymbolAbsolute // also per-CPU offsets on x86-64 kernels linked with absolute per-CPU symbols
)

// Symbol is one symbol of a kernel or module.
type Symbol struct {
	Name   string
	Addr   uint64 // virtual address
	Size   uint64 // bytes, 0 if unknown
	Kind   SymbolKind
	Global bool
}

// Symbols finds symbols by name and by address. It is immutable.
type Symbols struct {
	byAddr []Symbol // ascending by address
	byName []uint32 // indexes into byAddr, ascending by name
}

// NewSymbols makes a table of the symbols, which it takes over and sorts.
func NewSymbols(list []Symbol) *Symbols {
	sort.SliceStable(list, func(i, j int) bool { return list[i].Addr < list[j].Addr })
	s := &Symbols{byAddr: list, byName: make([]uint32, len(list))}
	for i := range s.byName {
		s.byName[i] = uint32(i)
	}
	sort.Slice(s.byName, func(i, j int) bool {
		a, b := s.byName[i], s.byName[j]
		if list[a].Name != list[b].Name {
			return list[a].Name < list[b].Name
		}
		return a < b
	})
	return s
}

// Len is the number of symbols.
func (s *Symbols) Len() int { return len(s.byAddr) }

// At is the i-th symbol by address.
func (s *Symbols) At(i int) Symbol { return s.byAddr[i] }

// Lookup returns the symbol of that name: a global one where there is one,
// otherwise the one with the lowest address.
func (s *Symbols) Lookup(name string) (Symbol, bool) {
	first := sort.Search(len(s.byName), func(i int) bool { return s.byAddr[s.byName[i]].Name >= name })
	var found Symbol
	ok := false
	for i := first; i < len(s.byName) && s.byAddr[s.byName[i]].Name == name; i++ {
		sym := s.byAddr[s.byName[i]]
		if sym.Global {
			return sym, true
		}
		if !ok {
			found, ok = sym, true
		}
	}
	return found, ok
}

// Containing returns the symbol that the address lies in: the last one at or
// below it, as long as the address is within its size where the size is known.
func (s *Symbols) Containing(addr uint64) (Symbol, bool) {
	i := sort.Search(len(s.byAddr), func(i int) bool { return s.byAddr[i].Addr > addr })
	for i--; i >= 0; i-- {
		sym := s.byAddr[i]
		if sym.Size == 0 || addr < sym.Addr+sym.Size {
			return sym, true
		}
		if sym.Addr+sym.Size <= addr && i > 0 && s.byAddr[i-1].Addr != sym.Addr {
			return Symbol{}, false
		}
	}
	return Symbol{}, false
}
