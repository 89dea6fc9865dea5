package dwarf

import (
	"os"
	"testing"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
)

// FuzzSections reads damaged sections, without an ELF file around them, and
// asks for all that is in them. Nothing may panic, run on or eat memory.
func FuzzSections(f *testing.F) {
	for _, name := range []string{"gcc-dwarf2", "gcc-dwarf4-types", "gcc-dwarf5", "gcc-dwarf5-64", "clang-dwarf5"} {
		path := "../testdata/built/" + name + ".elf"
		s := sectionsOf(f, path)
		code := codeOf(f, path)
		f.Add(s.Info, s.Types, s.Abbrev, s.Str, s.StrOffsets, s.LineStr, code.Line, code.Rnglists, code.Loclists, code.Ranges)
	}
	f.Fuzz(func(t *testing.T, info, types, abbrev, str, strOffsets, lineStr, line, rnglists, loclists, ranges []byte) {
		d, err := New(Sections{
			File: "fuzz", Info: info, Types: types, Abbrev: abbrev, Str: str, StrOffsets: strOffsets, LineStr: lineStr,
			Code: func() CodeSections {
				return CodeSections{Line: line, Rnglists: rnglists, Loclists: loclists, Ranges: ranges, Loc: loclists, Aranges: ranges}
			},
		}, Options{})
		if err != nil {
			return
		}
		askAll(t, d)
	})
}

// askAll asks for everything that there is.
func askAll(t *testing.T, d *Data) {
	t.Helper()
	walk := 3000
	for kind, name := range d.Types() {
		visit(d.Type(kind, name), &walk)
		if len(d.AllTypes(kind, name)) == 0 {
			t.Errorf("%s is in the index and nowhere", name)
		}
		if walk < 0 {
			break
		}
	}
	for name := range d.Variables() {
		typ, _ := d.Variable(name)
		visit(typ, &walk)
	}
	for name := range d.Functions() {
		typ, _ := d.Function(name)
		visit(typ, &walk)
	}
	_, _, _ = d.Enumerator("GREEN")
	for addr := uint64(0x400100); addr < 0x400190; addr += 12 {
		_, _ = d.Line(addr)
		_, _ = d.Frames(addr)
	}
	_ = d.EachLineTable(func([]LineRow) bool { return true })
}

func visit(t *ctype.Type, budget *int) {
	if *budget--; t == nil || *budget < 0 {
		return
	}
	_, _ = t.Size(), t.String()
	_ = t.HasField("list.next")
	for _, m := range t.Members() {
		visit(m.Type, budget)
	}
	if e := t.Body().Elem; e != nil {
		visit(e, budget)
	}
}

func codeOf(t testing.TB, path string) CodeSections {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := elffile.New(path, data)
	if err != nil {
		t.Fatal(err)
	}
	section := func(name string) []byte {
		data, err := file.Section(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	return CodeSections{Line: section(".debug_line"), Rnglists: section(".debug_rnglists"), Loclists: section(".debug_loclists"), Ranges: section(".debug_ranges")}
}
