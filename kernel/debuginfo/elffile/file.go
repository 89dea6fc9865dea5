// Package elffile opens the ELF files that carry debug information: vmlinux,
// separated debug files and kernel modules. The file is mapped, sections are
// handed out in place where they are stored plainly, and unpacked or relocated
// copies of them otherwise. Every byte of the file may be wrong on purpose.
package elffile

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/kmortem/mortem/kernel/debuginfo/mapfile"
)

// ErrNotELF is wrapped by the errors for files of another kind.
var ErrNotELF = errors.New("not an ELF file")

// File is an open ELF file. Its methods are safe for use by many goroutines.
type File struct {
	path  string
	m     *mapfile.File
	elf   *elf.File
	addrs []uint64 // of the sections

	mu     sync.Mutex
	copies map[int]sectionCopy // unpacked or relocated sections, by index
}

type sectionCopy struct {
	data []byte
	err  error
}

// Open maps the file and reads its headers. The error wraps ErrNotELF for a
// file that is none.
func Open(path string) (*File, error) {
	m, err := mapfile.Open(path)
	if err != nil {
		return nil, err
	}
	return open(path, m)
}

// New opens an ELF file that is in memory; the name is for messages. Errors are
// those of Open.
func New(name string, data []byte) (*File, error) {
	return open(name, mapfile.InMemory(data))
}

func open(path string, m *mapfile.File) (*File, error) {
	file := &File{path: path, m: m, copies: map[int]sectionCopy{}}
	err := mapfile.Guard(path, func() (err error) {
		file.elf, err = readHeaders(m.Data())
		return err
	})
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	file.layOut()
	return file, nil
}

// readHeaders has the standard library read the headers, in which it allocates
// no more than the file has bytes for.
func readHeaders(data []byte) (*elf.File, error) {
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return nil, ErrNotELF
	}
	e, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("damaged ELF headers: %w", err)
	}
	if e.Data != elf.ELFDATA2LSB {
		return nil, errors.New("big-endian files are not supported")
	}
	return e, nil
}

// Path is the name that the file was opened by.
func (f *File) Path() string { return f.path }

// Relocatable tells whether the file is an object file, such as a kernel
// module, whose debug sections are complete only after relocation.
func (f *File) Relocatable() bool { return f.elf.Type == elf.ET_REL }

// Machine is the processor that the file is for.
func (f *File) Machine() elf.Machine { return f.elf.Machine }

// Is64 tells whether addresses have 64 bits.
func (f *File) Is64() bool { return f.elf.Class == elf.ELFCLASS64 }

// Close unmaps the file; slices of it are not to be used after that.
func (f *File) Close() error { return f.m.Close() }

// Release lets go of the physical memory behind a section that Section
// returned, or a part of it, where it is mapped. The data stay readable.
func (f *File) Release(part []byte) { f.m.Release(part) }

// find returns the index of the section, which may also be there under the
// name that the old way of compression gave it, or -1.
func (f *File) find(name string) int {
	old := ""
	if rest, ok := strings.CutPrefix(name, ".debug_"); ok {
		old = ".zdebug_" + rest
	}
	for i, s := range f.elf.Sections {
		if (s.Name == name || old != "" && s.Name == old) && s.Type != elf.SHT_NOBITS && s.Type != elf.SHT_NULL {
			return i
		}
	}
	return -1
}

// HasSection tells whether the file holds the contents of a section.
func (f *File) HasSection(name string) bool { return f.find(name) >= 0 }

// Section returns the contents of a section: in place, or unpacked, or with the
// relocations applied in an object file. It is nil for a section that is not
// there or whose contents were left in another file (SHT_NOBITS). The slice
// must not be written to. It fails where the section lies outside of the file,
// or cannot be unpacked or relocated.
func (f *File) Section(name string) ([]byte, error) {
	i := f.find(name)
	if i < 0 {
		return nil, nil
	}
	return f.sectionAt(i)
}

// SectionAddr is the virtual address that a section was linked for. In an object
// file, which is linked for none, it is made up, as Loaded has it.
func (f *File) SectionAddr(name string) (uint64, bool) {
	for i, s := range f.elf.Sections {
		if s.Name == name {
			return f.addrs[i], true
		}
	}
	return 0, false
}

func (f *File) sectionAt(i int) ([]byte, error) {
	s := f.elf.Sections[i]
	raw, err := f.raw(s)
	if err != nil {
		return nil, err
	}
	packed := s.Flags&elf.SHF_COMPRESSED != 0 || strings.HasPrefix(s.Name, ".zdebug_")
	relocs := -1
	if f.Relocatable() && strings.HasPrefix(s.Name, ".debug_") {
		relocs = f.relocationsFor(i)
	}
	if !packed && relocs < 0 {
		return raw, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.copies[i]
	if !ok {
		c.err = mapfile.Guard(f.path, func() (err error) {
			c.data, err = f.makeCopy(s, raw, packed, relocs)
			return err
		})
		f.copies[i] = c
	}
	return c.data, c.err
}

func (f *File) makeCopy(s *elf.Section, raw []byte, packed bool, relocs int) ([]byte, error) {
	data := raw
	if packed {
		var err error
		if data, err = unpackSection(s, raw); err != nil {
			return nil, fmt.Errorf("%s: section %s at %#x: %w", f.path, s.Name, s.Offset, err)
		}
	}
	if relocs < 0 {
		return data, nil
	}
	if !packed {
		data = bytes.Clone(raw)
	}
	return data, f.relocate(data, relocs)
}

// raw is what the file holds of a section.
func (f *File) raw(s *elf.Section) ([]byte, error) {
	size := uint64(len(f.m.Data()))
	if s.Offset > size || s.FileSize > size-s.Offset {
		return nil, fmt.Errorf("%s: section %s at %#x, %d bytes, goes beyond the end of the file (%d bytes): is the file cut short?",
			f.path, s.Name, s.Offset, s.FileSize, size)
	}
	return f.m.Data()[s.Offset : s.Offset+s.FileSize : s.Offset+s.FileSize], nil
}
