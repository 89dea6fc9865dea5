package debuginfo

import (
	"github.com/kmortem/mortem/kernel/debuginfo/dwarf"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
)

// Line is a place in the source.
type Line = dwarf.Line

// Frame is a function, or one inlined into another, at an address.
type Frame = dwarf.Frame

// Local is a parameter or local variable in scope at an address.
type Local = dwarf.Local

// Lines is what a Source also implements when it knows about source lines.
// Addresses are as linked. For a return address the caller wants the address
// before it.
type Lines interface {
	// Line is the source line of the instruction at an address: the innermost
	// one where functions are inlined.
	Line(addr uint64) (Line, bool)
	// Frames are the functions at an address, from the innermost inlined one
	// outwards. Sources without local variables leave those out, and sources
	// that do not know of inlining give one frame. It is empty, without an
	// error, for an address that no function is known at. With an error, the
	// frames are those that could be read.
	Frames(addr uint64) ([]Frame, error)
	// Locals tells whether Frames has local variables.
	Locals() bool
}

func (s *elfSource) Locals() bool { return true }

func (s *elfSource) Line(addr uint64) (Line, bool) { return s.dwarf.Line(addr) }

// Frames takes the name from the symbol table where there is code without a
// function in the debug information: assembly, and functions that the compiler
// found to be the same as another.
func (s *elfSource) Frames(addr uint64) ([]Frame, error) {
	frames, err := s.dwarf.Frames(addr)
	if len(frames) > 0 || err != nil {
		return frames, err
	}
	sym, ok := s.Symbols().Containing(addr)
	if !ok || sym.Kind != SymbolText {
		return nil, nil
	}
	line, _ := s.dwarf.Line(addr)
	return []Frame{{Name: sym.Name, Line: line, Ranges: []dwarf.Range{{Low: sym.Addr, High: sym.Addr + sym.Size}}}}, nil
}

// Sections is what a Source also implements when it has the sections of an ELF
// file, such as .debug_frame, .orc_unwind and .orc_unwind_ip.
type Sections interface {
	// Section returns the contents of a section and the address that it was
	// linked for, nil where there is none; not to be changed, or used after
	// Close.
	Section(name string) (data []byte, addr uint64, err error)
	// Loaded are the sections that are in memory when the file is. Those of a
	// module are linked at no address: there they, its symbols and its lines
	// have made-up addresses, and the caller counts from the section's.
	Loaded() []SectionAddr
}

// SectionAddr is where a section of a kernel or module lies, as linked.
type SectionAddr struct {
	Name string // ".text"
	Addr uint64 // virtual, as linked
	Size uint64 // bytes
}

// Loaded are the sections of the file that was opened.
func (s *elfSource) Loaded() []SectionAddr { return loaded(s.files[0]) }

func loaded(file *elffile.File) []SectionAddr {
	var list []SectionAddr
	for _, h := range file.Loaded() {
		list = append(list, SectionAddr{h.Name, h.Addr, h.Size})
	}
	return list
}

// Section looks at the debug file first, then at the file that was opened.
func (s *elfSource) Section(name string) (data []byte, addr uint64, err error) {
	for i := len(s.files) - 1; i >= 0; i-- {
		if !s.files[i].HasSection(name) {
			continue
		}
		data, err := s.files[i].Section(name)
		addr, _ := s.files[i].SectionAddr(name)
		return data, addr, err
	}
	return nil, 0, nil
}
