package module

import (
	"bytes"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
)

// Section is one section of a module as it was loaded. Those for init are
// listed too, though their memory is freed.
type Section struct {
	Name string // such as ".text", escaped
	Addr uint64 // virtual address
}

// maxSections bounds the walk of a module's sections; those compiled with a
// section for each function have some thousands.
const maxSections = 1 << 14

// Sections returns the module's sections, in the order of /sys/module/NAME/sections,
// which also is where the kernel keeps them for (struct module_sect_attrs). What
// could be read comes with an error.
func (r *Reader) Sections(m *Module) ([]Section, error) {
	l := &r.sections
	if !l.known || m.sections == 0 {
		return nil, fmt.Errorf("sections of module %s: %w: the kernel keeps none", m.Name, kernel.ErrNotFound)
	}
	count, err := r.countSections(m.sections)
	if err != nil {
		return nil, fmt.Errorf("sections of module %s: %w", m.Name, err)
	}
	var sections []Section
	for i := range count {
		elem := m.sections + l.attrs + i*l.stride
		name, err := r.k.Uint64(elem + l.name)
		if err != nil {
			return sections, fmt.Errorf("sections of module %s: %w", m.Name, err)
		}
		addr, err := r.k.Uint64(elem + l.address)
		if err != nil {
			return sections, fmt.Errorf("sections of module %s: %w", m.Name, err)
		}
		sections = append(sections, Section{Name: r.text(name, maxWord), Addr: addr})
	}
	return sections, nil
}

func (r *Reader) countSections(attrs uint64) (uint64, error) {
	if !r.sections.pointers {
		n, err := r.k.Uint32(attrs + r.sections.count)
		if err == nil && n > maxSections {
			err = fmt.Errorf("%d sections are too many to be true", n)
		}
		return uint64(n), err
	}
	array, err := r.k.Uint64(attrs + r.sections.count)
	if err != nil {
		return 0, err
	}
	for n := range uint64(maxSections) {
		p, err := r.k.Uint64(array + 8*n)
		if err != nil || p == 0 {
			return n, err
		}
	}
	return 0, fmt.Errorf("more than %d sections are too many to be true", maxSections)
}

// BuildID is the module's GNU build id, nil if the kernel does not keep it: its
// own member (since 5.14), or else that of the note section that it was loaded
// with.
func (r *Reader) BuildID(m *Module) []byte {
	if len(bytes.Trim(m.buildID, "\x00")) > 0 {
		return m.buildID
	}
	sections, _ := r.Sections(m)
	for _, s := range sections {
		if s.Name == ".note.gnu.build-id" {
			note := make([]byte, 64)
			n, _ := r.k.Read(note, s.Addr)
			return elffile.BuildIDFromNotes(note[:n], 4)
		}
	}
	return nil
}
