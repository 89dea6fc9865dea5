package debuginfo

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo/btf"
	"github.com/kmortem/mortem/kernel/debuginfo/btfwrite"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
)

// FuzzOpen reads damaged files as debug information and asks for everything
// that is in them. Nothing may panic or take memory or time out of proportion.
func FuzzOpen(f *testing.F) {
	for _, pattern := range []string{"*.elf", "*.ko"} {
		paths, _ := filepath.Glob(filepath.Join("testdata/built", pattern))
		for _, path := range paths {
			if data, err := os.ReadFile(path); err == nil {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := elffile.New("fuzz", data)
		if err != nil {
			return
		}
		src, err := openDWARF("testdata/built/fuzz", file, &options{noCache: true})
		if err != nil {
			return
		}
		defer src.Close()
		exercise(src.(*elfSource))
	})
}

// FuzzPack reads damaged pack files, with the right checksums where it can.
func FuzzPack(f *testing.F) {
	file, err := elffile.Open("testdata/built/gcc-dwarf5.elf")
	if err != nil {
		f.Fatal(err)
	}
	src, err := openDWARF("pack", file, &options{noCache: true})
	if err != nil {
		f.Fatal(err)
	}
	defer src.Close()
	enc := btfwrite.New(nil)
	types, err := encodeTypes(src, enc)
	if err != nil {
		f.Fatal(err)
	}
	lines, err := encodeLines(src.(lineTables).eachLineTable)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(types, encodeSymbols(src.Symbols()), lines)
	f.Fuzz(func(t *testing.T, types, symbols, lines []byte) {
		if list, err := decodeSymbols(symbols); err == nil {
			list.Lookup("entry")
			list.Containing(0x400130)
		}
		if table, err := decodeLines(lines); err == nil {
			_, _, _ = table.find(0x400130)
		}
		if list, err := btf.Parse(types); err == nil {
			for kind, name := range list.Types() {
				if typ := list.Type(kind, name); typ != nil {
					_, _ = typ.Size(), typ.String()
				}
			}
		}
	})
}

func exercise(s *elfSource) {
	budget := 2000
	for kind, name := range s.dwarf.Types() {
		if t := s.dwarf.Type(kind, name); t != nil {
			exerciseType(t, &budget)
			_ = ctype.Print(io.Discard, t, ctype.PrintOptions{Expand: true})
		}
		if budget < 0 {
			break
		}
	}
	for name := range s.dwarf.Variables() {
		if t, err := s.dwarf.Variable(name); err == nil && t != nil {
			exerciseType(t, &budget)
		}
	}
	for name := range s.dwarf.Functions() {
		if t, err := s.dwarf.Function(name); err == nil && t != nil {
			exerciseType(t, &budget)
		}
	}
	_, _, _ = s.dwarf.Enumerator("GREEN")
	for addr := uint64(0x400110); addr < 0x4001a0; addr += 16 {
		_, _ = s.Line(addr)
		_, _ = s.Frames(addr)
	}
	s.Symbols().Containing(0x400000)
	_ = s.BuildID()
}

// exerciseType calls what can be called on a type, and goes on to the types
// that it refers to.
func exerciseType(t *ctype.Type, budget *int) {
	if *budget--; *budget < 0 {
		return
	}
	_, _ = t.Size(), t.String()
	_, _ = t.Field("list.next[3].whatever")
	_ = t.Strip().IsRecord()
	for _, m := range t.Members() {
		exerciseType(m.Type, budget)
	}
	if t.Body().Elem != nil {
		exerciseType(t.Elem(), budget)
	}
}
