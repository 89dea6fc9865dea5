package module

import (
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

// maxSections bounds the walk of a module's sections: ELF's own limit.
const maxSections = 1 << 16

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
		sections = append(sections, Section{Name: r.text(name), Addr: addr})
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

// buildID is the module's build id: its own member's, or else that of the
// note section that it was loaded with.
func (r *Reader) buildID(m *Module, b []byte) []byte {
	if r.module.BuildID.Has() {
		id := r.module.BuildID.Get(b)
		for _, c := range id {
			if c != 0 {
				return append([]byte(nil), id...)
			}
		}
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
