package kernel

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel/debuginfo"
)

// Code is the debug information about code at an address of the dump: that of
// the kernel image, or of a module. Its own addresses are those of linking.
type Code struct {
	Info     debuginfo.Source
	image    *Kernel         // nil for a module
	sections []LoadedSection // of a module
}

// LoadedSection is where a section of a module was loaded.
type LoadedSection struct {
	Link    uint64 // address in the module's debug information
	Runtime uint64 // virtual address
	Size    uint64 // bytes
}

// CodeAt finds the debug information about the code at a runtime virtual
// address; there is none for an address outside of the image and of all modules
// whose debug information is known, see module.AttachTypes.
func (k *Kernel) CodeAt(virt uint64) (Code, bool) {
	if _, _, inImage := k.SymbolAt(virt); inImage {
		return Code{Info: k.info, image: k}, true
	}
	if k.moduleTypes == nil {
		return Code{}, false
	}
	info, sections, ok := k.moduleTypes.Code(virt)
	return Code{Info: info, sections: sections}, ok
}

// Link turns a runtime virtual address into the one in the debug information.
func (c Code) Link(virt uint64) (uint64, bool) {
	if c.image != nil {
		return virt - c.image.offset, true
	}
	for _, s := range c.sections {
		if virt-s.Runtime < s.Size {
			return virt - s.Runtime + s.Link, true
		}
	}
	return 0, false
}

// Runtime turns an address in the debug information into a virtual one. It is
// not known for sections of a module that were not loaded, or are freed.
func (c Code) Runtime(link uint64) (uint64, bool) {
	if c.image != nil {
		return c.image.Runtime(link), true
	}
	for _, s := range c.sections {
		if link-s.Link < s.Size {
			return link - s.Link + s.Runtime, true
		}
	}
	return 0, false
}

// ErrNoLines: debug information has no source lines.
var ErrNoLines = errors.New("no source lines")

// Lines are the source lines of the code; their addresses are those of linking.
// The error wraps ErrNoLines for debug information that has none.
func (c Code) Lines() (debuginfo.Lines, error) {
	lines, ok := c.Info.(debuginfo.Lines)
	if !ok {
		return nil, fmt.Errorf("%w in %s: they are in DWARF and in pack files", ErrNoLines, c.Info.Describe())
	}
	return lines, nil
}
