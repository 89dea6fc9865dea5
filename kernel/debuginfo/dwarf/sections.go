// Package dwarf reads the C types and the names of variables and functions
// from DWARF debug information, versions 2 to 5. Opening makes an index of the
// names at the top level only, by all processors at once; what a name stands
// for is decoded when somebody asks. Nothing of that is kept twice: names are
// compared where they lie in the sections.
//
// Every byte of the sections may be wrong on purpose.
package dwarf

import (
	"bytes"
	"fmt"
	"sort"
	"sync"

	"github.com/kmortem/mortem/kernel/cstr"
)

// Sections are the debug sections of one file; nil where the file has none.
// They must not be changed, or unmapped, while they are in use.
type Sections struct {
	File string // for messages

	Info       []byte // .debug_info
	Types      []byte // .debug_types, DWARF 4
	Abbrev     []byte // .debug_abbrev
	Str        []byte // .debug_str
	LineStr    []byte // .debug_line_str, DWARF 5
	StrOffsets []byte // .debug_str_offsets, DWARF 5, or .dwo
	Addr       []byte // .debug_addr, DWARF 5, or of split DWARF 4
	Names      []byte // .debug_names, DWARF 5; may be missing

	// Code, where set, is called once, when something about code is first
	// asked for.
	Code func() CodeSections
}

// CodeSections are the debug sections that tell about code: lines, functions
// and locals.
type CodeSections struct {
	Line     []byte // .debug_line
	Aranges  []byte // .debug_aranges; may be missing
	Ranges   []byte // .debug_ranges, DWARF 2 to 4
	Rnglists []byte // .debug_rnglists, DWARF 5
	Loc      []byte // .debug_loc, DWARF 2 to 4
	Loclists []byte // .debug_loclists, DWARF 5
}

// place is a position in any section of any file that belongs to the debug
// information: each section has a range of places of its own. 0 is nowhere.
type place uint64

// chunk is one section with the places it occupies.
type chunk struct {
	base place
	data []byte
	name string // of the section
	file *file
}

// file is one ELF file's part in the debug information.
type file struct {
	Sections
	info, types, str, lineStr place // where the sections' places begin
	alt                       *file // the file shared by several, as made by dwz
	code                      func() CodeSections
}

// space gives each section its range of places.
type space struct {
	chunks  []chunk
	next    place
	abbrevs int // bytes of abbreviations in all files
}

const firstPlace = 16

func (s *space) add(f *file, name string, data []byte) place {
	if s.next == 0 {
		s.next = firstPlace
	}
	base := s.next
	s.chunks = append(s.chunks, chunk{base, data, name, f})
	s.next += place(len(data)) + 1
	return base
}

func (s *space) addFile(sections Sections, alt *file) *file {
	f := &file{Sections: sections, alt: alt, code: func() CodeSections { return CodeSections{} }}
	if sections.Code != nil {
		f.code = sync.OnceValue(sections.Code)
	}
	s.abbrevs += len(f.Abbrev)
	f.info = s.add(f, ".debug_info", f.Info)
	f.types = s.add(f, ".debug_types", f.Types)
	f.str = s.add(f, ".debug_str", f.Str)
	f.lineStr = s.add(f, ".debug_line_str", f.LineStr)
	return f
}

// at finds the section that a place is in, nil for one that is in none.
func (s *space) at(p place) *chunk {
	if len(s.chunks) <= 8 {
		for i := range s.chunks {
			if c := &s.chunks[i]; p >= c.base && p-c.base < place(len(c.data)) {
				return c
			}
		}
		return nil
	}
	i := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i].base > p }) - 1
	if i < 0 || p-s.chunks[i].base >= place(len(s.chunks[i].data)) {
		return nil
	}
	return &s.chunks[i]
}

// describe names a place for messages.
func (s *space) describe(p place) string {
	c := s.at(p)
	if c == nil {
		return "a place outside all sections"
	}
	return fmt.Sprintf("%s: %s+%#x", c.file.File, c.name, uint64(p-c.base))
}

// maxName bounds the length of names: C++ and Rust make long ones, damage
// makes longer ones.
const maxName = 8192

// name returns the bytes of the string at a place, without its final zero.
func (s *space) name(p place) []byte {
	c := s.at(p)
	if c == nil {
		return nil
	}
	rest := c.data[p-c.base:]
	rest = rest[:min(len(rest), maxName)]
	n := bytes.IndexByte(rest, 0)
	if n < 0 {
		return nil
	}
	return rest[:n]
}

// string returns the string at a place, "" for nowhere.
func (s *space) string(p place) string { return string(s.name(p)) }

// maxShown bounds names that are handed out. KSYM_NAME_LEN is 512.
const maxShown = 512

// show returns the string at a place, fit to be shown.
func (s *space) show(p place) string {
	name := s.name(p)
	return cstr.Name(name[:min(len(name), maxShown)])
}
