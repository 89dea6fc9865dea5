package module

import (
	"encoding/binary"
	"testing"
)

// FuzzDecode reads symbol tables of any bytes, and gives the symbols sizes in
// a module that holds some of them.
func FuzzDecode(f *testing.F) {
	entry := binary.LittleEndian.AppendUint32(make([]byte, symSize), 1)
	entry = append(entry, 't', 0, 1, 0)
	entry = binary.LittleEndian.AppendUint64(entry, 0x1010)
	entry = binary.LittleEndian.AppendUint64(entry, 4)
	f.Add(entry, []byte("\x00name\x00"), []byte("?t"))
	m := &Module{Name: "m", Regions: []Region{{Range: Range{0x1000, 0x2000}, Kind: "core", Text: Range{0x1000, 0x800}}}}
	f.Fuzz(func(t *testing.T, table, names, letters []byte) {
		list := decode(table, names, letters)
		m.resize(list)
		for i := range list {
			s := &list[i]
			if i > 0 && s.Addr < list[i-1].Addr {
				t.Fatalf("%+v comes behind %+v", s, list[i-1])
			}
			if region, ok := m.Region(s.Addr); ok && (s.Size == 0 || s.Size > region.Addr+region.Size-s.Addr) {
				t.Fatalf("%+v leaves its region", s)
			}
		}
	})
}
