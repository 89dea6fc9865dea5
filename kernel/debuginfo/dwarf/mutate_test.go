package dwarf

import (
	"flag"
	"slices"
	"testing"
	"time"
)

var mutateAll = flag.Bool("mutate", false, "change each byte to all of its values in TestOneByteWrong, which takes an hour")

// TestOneByteWrong asks for everything in a program's debug information of which one
// byte is wrong: the forms and attributes of abbreviations, the headers and the
// references in between are each hit by values that mean something there. Nothing
// panics, runs on or takes memory out of proportion.
//
//	go test -run OneByteWrong ./kernel/debuginfo/dwarf -mutate
func TestOneByteWrong(t *testing.T) {
	stride := 8009
	if testing.Short() {
		stride = 40009
	}
	if *mutateAll {
		stride = 1
	}
	for _, path := range []string{gccProgram, clangNames, "../testdata/built/gcc-dwarf4-types.elf", "../testdata/built/gcc-dwarf2.elf"} {
		whole, code := sectionsOf(t, path), codeOf(t, path)
		n := 0
		for name, section := range map[string]func(*Sections, *CodeSections) *[]byte{
			"info":       func(s *Sections, _ *CodeSections) *[]byte { return &s.Info },
			"abbrev":     func(s *Sections, _ *CodeSections) *[]byte { return &s.Abbrev },
			"types":      func(s *Sections, _ *CodeSections) *[]byte { return &s.Types },
			"names":      func(s *Sections, _ *CodeSections) *[]byte { return &s.Names },
			"stroffsets": func(s *Sections, _ *CodeSections) *[]byte { return &s.StrOffsets },
			"addr":       func(s *Sections, _ *CodeSections) *[]byte { return &s.Addr },
			"line":       func(_ *Sections, c *CodeSections) *[]byte { return &c.Line },
			"rnglists":   func(_ *Sections, c *CodeSections) *[]byte { return &c.Rnglists },
			"loclists":   func(_ *Sections, c *CodeSections) *[]byte { return &c.Loclists },
			"ranges":     func(_ *Sections, c *CodeSections) *[]byte { return &c.Ranges },
		} {
			for i := range *section(&whole, &code) {
				for _, value := range meaningful {
					if n++; n%stride != 0 {
						continue
					}
					s, c := whole, code
					bytes := section(&s, &c)
					*bytes = slices.Clone(*bytes)
					(*bytes)[i] = value
					s.Code = func() CodeSections { return c }
					start := time.Now()
					used := allocated(func() {
						if d, err := New(s, Options{}); err == nil {
							askAll(t, d)
						}
					})
					if took := time.Since(start); used > 256<<20 || took > 30*time.Second {
						t.Errorf("%s: byte %#x of %s is %#x: %d MiB, %v", path, i, name, value, used>>20, took)
					}
				}
			}
		}
	}
}

// meaningful are values of a byte that stand for something: small numbers, tags,
// attributes and forms, and the ends of their ranges.
var meaningful = func() []byte {
	list := []byte{0x40, 0x41, 0x47, 0x49, 0x4a, 0x55, 0x7f, 0x80, 0x8c, 0xfe, 0xff}
	for i := range byte(0x3c) {
		list = append(list, i)
	}
	return list
}()
