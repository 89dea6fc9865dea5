// Package kernel gives the bytes of a dump their meaning: it finds the kernel
// in the dump's physical memory, undoes address space randomisation, reads by
// kernel virtual address, and decodes objects by the types of the kernel's own
// debug information. Its subpackages walk the kernel's structures.
package kernel

import (
	"errors"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// Kernel is the kernel in one dump. It is safe for use by many goroutines.
type Kernel struct {
	*Memory
	info     debuginfo.Source
	matched  bool // the build ids agree
	mismatch string
	modules  ModuleSymbols // nil where they are not known

	moduleTypes ModuleTypes // nil where they are not known
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
	// ErrNoKernel: the debug information is the right one, but the dump lacks
	// the kernel's page tables or its data: it is cut short, or a part of it is
	// missing.
	ErrNoKernel = errors.New("the dump does not hold the kernel's own data; get all of it, or the missing parts")
	// ErrMismatch: the debug information belongs to another kernel.
	ErrMismatch = errors.New("the debug information is not that of the dumped kernel")
	// ErrArch: the dump is of an architecture that is not supported.
	ErrArch = errors.New("architecture not supported")
	// ErrNotFound: there is no symbol or type of that name. It is the same
	// error as debuginfo.ErrNotFound.
	ErrNotFound = debuginfo.ErrNotFound
)

// Open finds the kernel in the image by the debug information, which it does
// not close. It reads only what it needs to be sure of the kernel's place. The
// error wraps one of the kinds above, or a *ReadError where the dump lacks what
// tells the kernel's place.
func Open(image dump.Image, info debuginfo.Source, opt Options) (*Kernel, error) {
	k := &Kernel{info: info}
	err := k.checkBuildID(image.Facts(), opt.Force)
	if err != nil {
		return nil, err
	}
	if k.Memory, err = OpenMemory(image); errors.Is(err, ErrNoVMCoreInfo) {
		k.Memory, err = locate(image, info, err)
	}
	if err != nil {
		return nil, err
	}
	if err = k.checkIdentity(opt.Force); err != nil {
		return nil, err
	}
	if err = k.checkNotes(opt.Force); err != nil {
		return nil, err
	}
	k.findDirectMap()
	return k, nil
}

// Info is the debug information that the kernel is read by.
func (k *Kernel) Info() debuginfo.Source { return k.info }

// Mismatch says how the debug information differs from the dumped kernel
// where Options.Force let that pass, and is empty otherwise.
func (k *Kernel) Mismatch() string { return k.mismatch }

// Damage says what of the debug information cannot be read, and is empty where all of it
// can.
func (k *Kernel) Damage() string {
	if err := debuginfo.DamageOf(k.info); err != nil {
		return err.Error()
	}
	return ""
}

// Type returns a type by its C name, such as "struct dentry": the kernel's own,
// or else a loaded module's, if those are known. The error wraps ErrNotFound.
func (k *Kernel) Type(name string) (*ctype.Type, error) {
	t, err := k.info.Type(name)
	if err == nil || k.moduleTypes == nil {
		return t, err
	}
	if t, moduleErr := k.moduleTypes.Type(name); moduleErr == nil {
		return t, nil
	}
	return nil, err
}

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
