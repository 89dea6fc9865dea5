package dwarf

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/kmortem/mortem/kernel/ctype"
)

const gccProgram = "../testdata/built/gcc-dwarf5.elf"

// allocated is how many bytes run allocates.
func allocated(run func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// uleb is a number in LEB128.
func uleb(n uint64) []byte { return binary.AppendUvarint(nil, n) }

// longPaths is a line number program of version 5, or 4, with n directories and n
// files, and one row for an address.
func longPaths(version uint16, n int, addr uint64) []byte {
	le := binary.LittleEndian
	var tables []byte
	if version == 5 {
		const path, directory = 1, 2
		tables = append(tables, 1, path, formLineStrp)
		tables = append(tables, uleb(uint64(n))...)
		for range n {
			tables = le.AppendUint32(tables, 0)
		}
		tables = append(tables, 2, path, formLineStrp, directory, formUdata)
		tables = append(tables, uleb(uint64(n))...)
		for i := range n {
			tables = append(le.AppendUint32(tables, 0), uleb(uint64(i))...)
		}
	} else {
		tables = append([]byte(strings.Repeat("d", maxPath)), 0, 0)
		for range n {
			tables = append(tables, 'f', 0, 1, 0, 0)
		}
		tables = append(tables, 0)
	}
	head := []byte{1, 1, 1, 0xfb, 14, 1} // the opcodes begin at 1: there are no lengths
	program := append([]byte{0, 9, lneSetAddress}, le.AppendUint64(nil, addr)...)
	program = append(program, 20, 200, 0, 1, lneEndSequence) // two special opcodes
	body := le.AppendUint16(nil, version)
	if version == 5 {
		body = append(body, 8, 0)
	}
	body = le.AppendUint32(body, uint32(len(head)+len(tables)))
	body = append(append(append(body, head...), tables...), program...)
	return append(le.AppendUint32(nil, uint32(len(body))), body...)
}

// Thousands of files in one directory, whose path is as long as a section allows, or
// that all have the same long path, do not take memory for each of them.
func TestLongPaths(t *testing.T) {
	s := sectionsOf(t, gccProgram)
	s.LineStr = append(bytes.Repeat([]byte{'a'}, maxPath), 0)
	for _, version := range []uint16{4, 5} {
		for _, n := range []int{1, 60000} {
			line := longPaths(version, n, 0x400100)
			s.Code = func() CodeSections {
				code := codeOf(t, gccProgram)
				code.Line = line
				return code
			}
			d, err := New(s, Options{})
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			used := allocated(func() {
				for addr := uint64(0x400100); addr < 0x400190; addr++ {
					if _, ok := d.Line(addr); ok {
						found++
					}
				}
			})
			if n == 1 && found == 0 {
				t.Errorf("version %d: no line is found", version)
			}
			if used > 64<<20 {
				t.Errorf("version %d: %d files took %d MiB", version, n, used>>20)
			}
		}
	}
}

// Names that would do something to a terminal are escaped wherever they are handed
// out, and cut where they are longer than any name of a kernel.
func TestHostileNames(t *testing.T) {
	s := sectionsOf(t, gccProgram)
	for name, hostile := range map[string]string{"everything": "every\x1b[2Jg", "GREEN": "GR\nEN"} {
		for _, section := range []*[]byte{&s.Info, &s.Str} {
			*section = bytes.ReplaceAll(*section, []byte(name+"\x00"), []byte(hostile+"\x00"))
		}
	}
	d, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	typ := d.Type(ctype.Struct, "every\x1b[2Jg")
	if typ == nil || typ.Name != `every\x1b[2Jg` {
		t.Fatalf("struct everything is %v", typ)
	}
	_, enum, ok := d.Enumerator("GR\nEN")
	if enum == nil {
		t.Fatalf("GREEN is not found: %v", ok)
	}
	shown := ""
	for _, c := range enum.Enumerators() {
		shown += c.Name + " "
	}
	if strings.Contains(shown, "\n") || !strings.Contains(shown, `GR\nEN`) {
		t.Errorf("the constants are %q", shown)
	}
}

// What Frames remembers is bounded by what it consists of, not only by the number of
// addresses.
func TestFramesRemembered(t *testing.T) {
	s := sectionsOf(t, gccProgram)
	s.Code = func() CodeSections { return codeOf(t, gccProgram) }
	d, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	d.remembered = maxRemembered - 3
	for addr := uint64(0x400100); addr < 0x400190; addr++ {
		if _, err := d.Frames(addr); err != nil {
			t.Fatal(err)
		}
		sum := 0
		for _, frames := range d.frames {
			sum += weight(frames)
		}
		if sum > maxRemembered || d.remembered < sum {
			t.Fatalf("%d are remembered, counted as %d", sum, d.remembered)
		}
	}
}
