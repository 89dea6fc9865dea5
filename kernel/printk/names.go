package printk

import (
	"strings"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
)

// names tells where the log's variables are and how its structures are laid out,
// by the keys of VMCOREINFO.
type names interface {
	Symbol(name string) (addr uint64, ok bool)  // runtime address of a variable
	Size(name string) (bytes uint64, ok bool)   // of a structure
	Offset(name string) (bytes uint64, ok bool) // of "structure.member"
	Length(name string) (elements uint64, ok bool)
	whose() string // who says so, for errors
}

// fromVMCoreInfo is what the kernel says itself.
type fromVMCoreInfo struct{ *dump.VMCoreInfo }

func (fromVMCoreInfo) whose() string { return "VMCOREINFO" }

// fromKernel is what symbols and types say.
type fromKernel struct{ k *kernel.Kernel }

func (f fromKernel) whose() string { return "the debug information" }

func (f fromKernel) Symbol(name string) (uint64, bool) {
	addr, err := f.k.Symbol(name)
	return addr, err == nil
}

func (f fromKernel) Size(name string) (uint64, bool) {
	t, err := f.k.Type("struct " + name)
	if err != nil || t.Incomplete {
		return 0, false
	}
	return uint64(t.Size()), true
}

func (f fromKernel) Offset(name string) (uint64, bool) {
	tag, member, _ := strings.Cut(name, ".")
	t, err := f.k.Type("struct " + tag)
	if err != nil {
		return 0, false
	}
	m, err := t.Field(member)
	if err != nil || m.Offset < 0 {
		return 0, false
	}
	return uint64(m.Offset), true
}

// lengths are the members whose lengths VMCOREINFO gives by names of their own.
var lengths = map[string]string{
	"printk_info_subsystem": "subsystem",
	"printk_info_device":    "device",
}

func (f fromKernel) Length(name string) (uint64, bool) {
	t, err := f.k.Type("struct dev_printk_info")
	if err != nil || lengths[name] == "" {
		return 0, false
	}
	m, err := t.Field(lengths[name])
	if err != nil {
		return 0, false
	}
	return uint64(m.Type.Size()), true // of characters
}
