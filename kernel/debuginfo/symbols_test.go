package debuginfo

import "testing"

// A symbol that reaches over all others, which only a forged one does, does not make
// each lookup go through all of them; what lies in others is still found.
func TestSymbolOverAll(t *testing.T) {
	const n = 3 * maxInside
	list := []Symbol{{Name: "all", Addr: 0x1000, Size: 1 << 40, Kind: SymbolText}}
	for i := range uint64(n) {
		list = append(list, Symbol{Name: "small", Addr: 0x1000 + 32*i, Size: 16, Kind: SymbolText})
	}
	symbols := NewSymbols(list)
	for i := range uint64(n) {
		begin := 0x1000 + 32*i
		if s, ok := symbols.Containing(begin + 8); !ok || s.Addr != begin {
			t.Fatalf("%#x is in %+v", begin+8, s)
		}
		s, ok := symbols.Containing(begin + 20) // between two
		if i < maxInside-1 && s.Name != "all" || i > maxInside && ok {
			t.Fatalf("%#x, behind %d symbols, is in %+v", begin+20, i, s)
		}
	}
}
