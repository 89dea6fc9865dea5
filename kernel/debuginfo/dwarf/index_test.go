package dwarf

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"testing"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
)

// memoryStore is a Store in memory.
type memoryStore map[string][]byte

func (m memoryStore) Load(kind string) []byte       { return m[kind] }
func (m memoryStore) Save(kind string, data []byte) { m[kind] = data }

func sectionsOf(t testing.TB, path string) Sections {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := elffile.New(path, data)
	if err != nil {
		t.Fatal(err)
	}
	s := Sections{File: path}
	for name, to := range map[string]*[]byte{
		".debug_info": &s.Info, ".debug_types": &s.Types, ".debug_abbrev": &s.Abbrev, ".debug_str": &s.Str,
		".debug_line_str": &s.LineStr, ".debug_str_offsets": &s.StrOffsets, ".debug_addr": &s.Addr, ".debug_names": &s.Names,
	} {
		if *to, err = file.Section(name); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func storeOf(t testing.TB, s Sections) memoryStore {
	t.Helper()
	store := memoryStore{}
	d, err := New(s, Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	_ = d.Names() // needs a scan also where there is .debug_names
	if _, _, ok := d.Enumerator("GREEN"); !ok || len(store) != 2 {
		t.Fatalf("the store has %d indexes", len(store))
	}
	return store
}

// An index gives the same answers as the scan that it came from.
func TestIndexSameAsScan(t *testing.T) {
	for _, name := range []string{"gcc-dwarf5", "gcc-dwarf4-types", "gcc-dwarf5-types", "gcc-dwarf5-64", "clang-dwarf5", "gcc-dwarf2"} {
		s := sectionsOf(t, "../testdata/built/"+name+".elf")
		store := storeOf(t, s)
		scanned, err := New(s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := New(s, Options{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := loaded.names.(*indexed); !ok {
			t.Fatalf("%s: the index was not used", name)
		}
		if scanned.Names() != loaded.Names() || scanned.Units() != loaded.Units() {
			t.Errorf("%s: %d names in %d units scanned, %d in %d loaded", name, scanned.Names(), scanned.Units(), loaded.Names(), loaded.Units())
		}
		for kind, typeName := range scanned.Types() {
			a, b := scanned.Type(kind, typeName), loaded.Type(kind, typeName)
			if b == nil || a.String() != b.String() || a.Size() != b.Size() || len(a.Members()) != len(b.Members()) {
				t.Errorf("%s: %v scanned, %v loaded", name, a, b)
			}
		}
		for variable := range scanned.Variables() {
			a, err1 := scanned.Variable(variable)
			b, err2 := loaded.Variable(variable)
			if err1 != nil || err2 != nil || a.Declare(variable) != b.Declare(variable) {
				t.Errorf("%s: %v scanned, %v loaded (%v, %v)", name, a, b, err1, err2)
			}
		}
	}
}

// Whatever happens to an index, it is made again and the answers are right.
func TestDamagedIndex(t *testing.T) {
	s := sectionsOf(t, "../testdata/built/gcc-dwarf5.elf")
	whole := storeOf(t, s)["names"]
	damage := map[string][]byte{
		"empty": {}, "cut": whole[:len(whole)-1], "head only": whole[:20], "longer": append(whole[:len(whole):len(whole)], 0),
	}
	for i := 0; i < len(whole); i += 7 {
		flipped := append([]byte(nil), whole...)
		flipped[i] ^= 0x40
		damage["flipped "+string(rune(i))] = flipped
	}
	for what, data := range damage {
		store := memoryStore{"names": data}
		d, err := New(s, Options{Store: store})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if typ := d.Type(ctype.Struct, "everything"); typ == nil || !typ.HasField("ops.call") {
			t.Errorf("%s: struct everything: %v", what, typ)
		}
		if len(store["names"]) != len(whole) {
			t.Errorf("%s: the index was not made again", what)
		}
	}
}

// The index of other sections is not used.
func TestIndexOfAnotherBuild(t *testing.T) {
	other := storeOf(t, sectionsOf(t, "../testdata/built/gcc-dwarf4.elf"))
	d, err := New(sectionsOf(t, "../testdata/built/gcc-dwarf5.elf"), Options{Store: other})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := d.names.(*indexed); ok {
		t.Error("the index of another build was used")
	}
}

// An index without a free slot, which only a forged one is, does not make a lookup
// of what it lacks run on for ever.
func TestIndexWithoutFreeSlot(t *testing.T) {
	s := sectionsOf(t, "../testdata/built/gcc-dwarf5.elf")
	forged := storeOf(t, s)["names"]
	entries, slots := binary.LittleEndian.Uint32(forged[16:]), binary.LittleEndian.Uint32(forged[20:])
	for i := range slots {
		binary.LittleEndian.PutUint32(forged[len(forged)-int(slots-i)*slotRecord:], i<<24|i%entries+1)
	}
	binary.LittleEndian.PutUint32(forged[8:], crc32.Checksum(forged[indexRawFrom:], castagnoli))
	d, err := New(s, Options{Store: memoryStore{"names": forged}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := d.names.(*indexed); !ok {
		t.Fatal("the index was not used")
	}
	if typ := d.Type(ctype.Struct, "nowhere"); typ != nil {
		t.Errorf("struct nowhere: %v", typ)
	}
}

// FuzzIndex reads indexes that are wrong on purpose, with the right checksum.
func FuzzIndex(f *testing.F) {
	s := sectionsOf(f, "../testdata/built/gcc-dwarf5-types.elf")
	store := storeOf(f, s)
	f.Add(store["names"], store["constants"])
	f.Fuzz(func(t *testing.T, names, constants []byte) {
		for _, data := range [][]byte{names, constants} {
			if len(data) >= indexHeader {
				binary.LittleEndian.PutUint32(data[8:], crc32.Checksum(data[indexRawFrom:], castagnoli))
			}
		}
		d, err := New(s, Options{Store: memoryStore{"names": names, "constants": constants}})
		if err != nil {
			return
		}
		for kind, name := range d.Types() {
			if typ := d.Type(kind, name); typ != nil {
				_, _ = typ.Size(), len(typ.Members())
			}
		}
		for name := range d.Variables() {
			_, _ = d.Variable(name)
		}
		_, _, _ = d.Enumerator("GREEN")
		_ = d.Type(ctype.Struct, "everything")
	})
}
