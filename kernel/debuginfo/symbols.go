package debuginfo

import (
	"cmp"
	"hash/maphash"
	"iter"
	"slices"
	"sync"
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
	Name   string // escaped, where it is no name in C
	Addr   uint64 // virtual address, as linked: before KASLR
	Size   uint64 // bytes, 0 if unknown
	Kind   SymbolKind
	Global bool // not static
}

// Symbols finds symbols by name and by address. What it contains does not
// change; the two orders are made when they are first needed. Its methods are
// safe for use by many goroutines.
type Symbols struct {
	list []Symbol

	sortOnce sync.Once
	byAddr   []uint32 // indexes into list, ascending by address
	reach    []uint64 // the highest end of the symbols up to here, in the order of byAddr
	nameOnce sync.Once
	heads    []uint32 // hash table of names: indexes into list plus one
	next     []uint32 // chains of the table, in the same way
}

// NewSymbols makes a table of the symbols, which it takes over.
func NewSymbols(list []Symbol) *Symbols { return &Symbols{list: list} }

// Len is the number of symbols.
func (s *Symbols) Len() int { return len(s.list) }

// At is the i-th symbol by address.
func (s *Symbols) At(i int) Symbol {
	s.sort()
	return s.list[s.byAddr[i]]
}

// All goes over the symbols by address.
func (s *Symbols) All() iter.Seq[Symbol] {
	return func(yield func(Symbol) bool) {
		for i := range s.list {
			if !yield(s.At(i)) {
				return
			}
		}
	}
}

// Lookup returns the symbol of that name: a global one where there is one,
// otherwise the one with the lowest address.
func (s *Symbols) Lookup(name string) (Symbol, bool) {
	best := -1
	s.each(name, func(i int) {
		if best < 0 || s.list[i].preferable(&s.list[best]) {
			best = i
		}
	})
	if best < 0 {
		return Symbol{}, false
	}
	return s.list[best], true
}

// LookupAll returns all symbols of that name, ascending by address.
func (s *Symbols) LookupAll(name string) []Symbol {
	var all []Symbol
	s.each(name, func(i int) { all = append(all, s.list[i]) })
	slices.SortStableFunc(all, func(a, b Symbol) int { return cmp.Compare(a.Addr, b.Addr) })
	return all
}

func (s *Symbol) preferable(other *Symbol) bool {
	if s.Global != other.Global {
		return s.Global
	}
	return s.Addr < other.Addr
}

// Containing returns the symbol that the virtual address, as the symbols have
// it, lies in: the nearest one at or below it whose size covers it, or whose
// size is unknown and nothing else begins in between. Of several at one address
// a global one with a size goes first. One that begins more than maxInside
// symbols before is not found.
func (s *Symbols) Containing(addr uint64) (Symbol, bool) {
	s.sort()
	after, _ := slices.BinarySearchFunc(s.byAddr, addr, func(i uint32, addr uint64) int {
		if s.list[i].Addr <= addr {
			return -1
		}
		return 1
	})
	var best *Symbol
	for i := after - 1; i >= max(0, after-maxInside); i-- {
		sym := &s.list[s.byAddr[i]]
		if best != nil && sym.Addr != best.Addr {
			break
		}
		covers := addr-sym.Addr < sym.Size || sym.Size == 0 && sym.Addr == s.list[s.byAddr[after-1]].Addr
		if covers && (best == nil || sym.rank() > best.rank()) {
			best = sym
		}
		if best == nil && s.reach[i] <= addr {
			break // nothing further down reaches the address
		}
	}
	if best == nil {
		return Symbol{}, false
	}
	return *best, true
}

// maxInside bounds how many symbols can lie inside of one: a forged one that reaches
// over all others would have each lookup go through them.
const maxInside = 1 << 12

// rank orders symbols at the same address by how well they name it.
func (s *Symbol) rank() int {
	rank := 0
	if s.Size > 0 {
		rank += 4
	}
	if s.Kind == SymbolText || s.Kind == SymbolData {
		rank += 2
	}
	if s.Global {
		rank++
	}
	return rank
}

// sort makes the order by address, once.
func (s *Symbols) sort() {
	s.sortOnce.Do(func() {
		s.byAddr = make([]uint32, len(s.list))
		for i := range s.byAddr {
			s.byAddr[i] = uint32(i)
		}
		slices.SortFunc(s.byAddr, func(a, b uint32) int {
			if c := cmp.Compare(s.list[a].Addr, s.list[b].Addr); c != 0 {
				return c
			}
			return cmp.Compare(a, b)
		})
		s.reach = make([]uint64, len(s.list))
		high := uint64(0)
		for i, at := range s.byAddr {
			sym := &s.list[at]
			high = max(high, sym.Addr+max(sym.Size, 1))
			s.reach[i] = high
		}
	})
}

// each calls visit with the index of each symbol of a name.
func (s *Symbols) each(name string, visit func(i int)) {
	s.nameOnce.Do(s.hash)
	for i := s.heads[hashName(name)&uint32(len(s.heads)-1)]; i != 0; i = s.next[i-1] {
		if s.list[i-1].Name == name {
			visit(int(i - 1))
		}
	}
}

// hash makes the table of names. Names that occur thousands of times, such as
// __func__.0, share one chain.
func (s *Symbols) hash() {
	size := 16
	for size < len(s.list) {
		size *= 2
	}
	s.heads = make([]uint32, size)
	s.next = make([]uint32, len(s.list))
	for i := range s.list {
		head := &s.heads[hashName(s.list[i].Name)&uint32(size-1)]
		s.next[i], *head = *head, uint32(i+1)
	}
}

var nameSeed = maphash.MakeSeed()

func hashName(name string) uint32 { return uint32(maphash.String(nameSeed, name)) }
