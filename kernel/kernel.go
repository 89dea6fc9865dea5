// Package kernel gives the bytes of a dump their meaning: it finds the kernel
// in the dump's physical memory, undoes address space randomisation, reads by
// kernel virtual address, and decodes objects by the types of the kernel's own
// debug information. Its subpackages walk the kernel's structures.
package kernel

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/paging"
)

// Kernel is the kernel in one dump. It is safe for use by many goroutines.
type Kernel struct {
	image dump.Image
	info  debuginfo.Source
	space paging.Space

	offset   uint64 // runtime address minus link address of the kernel image
	textFrom uint64 // lowest link address that the offset applies to
	physBase int64  // physical minus link address, less kernelMap; see amd64.go
	pageMask uint64
	direct   directMap

	pageOffset  uint64
	buildIDSeen []byte
	mismatch    string
}

// directMap is the linear mapping of all physical memory, [start, start+size)
// in virtual addresses. Addresses in it need no page tables.
type directMap struct {
	start uint64
	size  uint64
}

// Options change how a kernel is opened.
type Options struct {
	// Force accepts debug information that is not that of the dumped
	// kernel. Every answer from it may be wrong; see Mismatch.
	Force bool
}

// The kinds of reasons why a dump and its debug information do not make a
// kernel.
var (
	// ErrNoVMCoreInfo: the dump has no VMCOREINFO note, and so the place of
	// the kernel in memory is not known.
	ErrNoVMCoreInfo = errors.New("the dump has no VMCOREINFO")
	// ErrMismatch: the debug information belongs to another kernel.
	ErrMismatch = errors.New("the debug information is not that of the dumped kernel")
	// ErrArch: the dump is of an architecture that is not supported.
	ErrArch = errors.New("architecture not supported")
	// ErrNotFound: there is no symbol or type of that name. It is the same
	// error as debuginfo.ErrNotFound.
	ErrNotFound = debuginfo.ErrNotFound
)

// Open finds the kernel in the image by the debug information, which it does
// not close. It reads only what it needs to be sure of the kernel's place.
func Open(image dump.Image, info debuginfo.Source, opt Options) (*Kernel, error) {
	facts := image.Facts()
	k := &Kernel{image: image, info: info, pageMask: facts.PageSize - 1}
	if err := k.checkBuildID(opt.Force); err != nil {
		return nil, err
	}
	switch facts.Arch {
	case dump.ArchX86_64:
		if err := k.openAMD64(); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%w: the dump is of a %q machine, and only %s kernels can be analyzed",
			ErrArch, facts.Arch, dump.ArchX86_64)
	}
	if err := k.checkIdentity(opt.Force); err != nil {
		return nil, err
	}
	return k, nil
}

// Image is the dump that the kernel is read from.
func (k *Kernel) Image() dump.Image { return k.image }

// Info is the debug information that the kernel is read by.
func (k *Kernel) Info() debuginfo.Source { return k.info }

// Offset is the distance that address space randomisation moved the kernel
// image by: runtime address minus link address.
func (k *Kernel) Offset() uint64 { return k.offset }

// PageOffset is the virtual address where the direct mapping of physical
// memory starts (page_offset_base, PAGE_OFFSET).
func (k *Kernel) PageOffset() uint64 { return k.pageOffset }

// PageSize is the size of a page in bytes.
func (k *Kernel) PageSize() uint64 { return k.pageMask + 1 }

// Mismatch says how the debug information differs from the dumped kernel
// where Options.Force let that pass, and is empty otherwise.
func (k *Kernel) Mismatch() string { return k.mismatch }

// Type returns a type by its C name, such as "struct dentry".
func (k *Kernel) Type(name string) (*ctype.Type, error) { return k.info.Type(name) }

// HasType tells whether the kernel has a complete type of that name.
func (k *Kernel) HasType(name string) bool {
	t, err := k.info.Type(name)
	return err == nil && !t.Incomplete
}

// HasField tells whether a type has a member, by the path that
// ctype.Type.Field takes. It is how kernel releases are told apart.
func (k *Kernel) HasField(typeName, path string) bool {
	t, err := k.info.Type(typeName)
	if err != nil {
		return false
	}
	_, err = t.Field(path)
	return err == nil
}
