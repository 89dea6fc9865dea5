// Package module reads the kernel's loaded modules: where they are in memory,
// their sections and symbols, and names addresses in them. All of it comes
// from the dump: struct module (include/linux/module.h) and what it points to.
package module

import (
	"bytes"
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/list"
)

// State is enum module_state.
type State uint32

// The states of modules.
const (
	Live     State = iota
	Coming         // its init function runs
	Going          // it is being unloaded
	Unformed       // it is still being set up; most of its fields mean nothing yet
)

// String is the state in the words of /proc/modules.
func (s State) String() string {
	switch s {
	case Live:
		return "Live"
	case Coming:
		return "Loading"
	case Going:
		return "Unloading"
	case Unformed:
		return "Unformed"
	}
	return fmt.Sprintf("state %d", uint32(s))
}

// Range is a stretch of kernel virtual memory.
type Range struct {
	Addr uint64 // virtual address
	Size uint64 // bytes
}

// Contains tells whether a kernel virtual address lies in the range.
func (r Range) Contains(addr uint64) bool { return addr-r.Addr < r.Size }

// Region is a part of a module's memory.
type Region struct {
	Range
	// Kind is text, data, rodata, ro_after_init, init_text, init_data or
	// init_rodata since 6.4, and core or init before.
	Kind string
	// Text is the part of the region that holds code, at its start.
	Text Range
}

// Module is one struct module. Addresses are kernel virtual ones.
type Module struct {
	Addr       uint64 // of the struct module
	Name       string // escaped
	State      State
	Regions    []Region // those that are there: the ones for init are gone once it has run
	Taints     uint64   // bits as in the kernel's tainted_mask
	Args       string   // parameters it was loaded with, escaped
	Version    string   // MODULE_VERSION, escaped
	SrcVersion string   // checksum of its sources, escaped
	PerCPU     Range    // of its static per-CPU variables, as offsets in each CPU's area; since 2.6.34 with a size

	buildID                 []byte // as struct module has it
	symtab, strtab, typetab uint64
	symbols                 uint32
	sections                uint64
}

// Size is the number of bytes of memory that the module takes, as /proc/modules
// has it.
func (m *Module) Size() uint64 {
	n := uint64(0)
	for i := range m.Regions {
		n += m.Regions[i].Size
	}
	return n
}

// Base is the virtual address of the module's code, as /proc/modules has it.
func (m *Module) Base() uint64 {
	if len(m.Regions) == 0 {
		return 0
	}
	return m.Regions[0].Addr
}

// Region returns the part of the module that a kernel virtual address lies in.
func (m *Module) Region(addr uint64) (Region, bool) {
	for _, r := range m.Regions {
		if r.Contains(addr) {
			return r, true
		}
	}
	return Region{}, false
}

// taints are the letters of the bits that are set for modules (taint_flags in
// kernel/panic.c).
const taints = "PFSRMBUDAWCIOELKXTNJ"

// TaintFlags spells the module's taints as /proc/modules does, such as "OE".
func (m *Module) TaintFlags() string {
	var b []byte
	for i := range len(taints) {
		if m.Taints>>i&1 != 0 {
			b = append(b, taints[i])
		}
	}
	return string(b)
}

// maxModules bounds the walk of the list of modules; machines have some
// hundreds.
const maxModules = 1 << 13

// All yields the modules in the order of the list modules, the one loaded last
// first. An error is that of one module, or the end of a broken list.
func (r *Reader) All() iter.Seq2[*Module, error] {
	return func(yield func(*Module, error) bool) {
		head, err := r.k.Symbol("modules")
		if err != nil {
			yield(nil, err)
			return
		}
		for node, err := range list.Circular(r.k, head, maxModules) {
			if err != nil {
				yield(nil, fmt.Errorf("modules: %w", err))
				return
			}
			if !yield(r.Read(node - r.module.List.Offset())) {
				return
			}
		}
	}
}

// Read reads the struct module at a kernel virtual address. A module of which
// strings or tables cannot be read comes without them; the error is that of
// the struct itself.
func (r *Reader) Read(addr uint64) (*Module, error) {
	l := &r.module
	b, err := r.k.Peek(addr, make([]byte, l.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct module at %#x: %w", addr, err)
	}
	m := &Module{
		Addr:   addr,
		Name:   cstr.ShowC(l.Name.Get(b)),
		State:  State(l.State.Get(b)),
		Taints: l.Taints.Get(b),
		Args:   r.text(l.Args.Or0(b), maxArgs), Version: r.text(l.Version.Or0(b), maxWord), SrcVersion: r.text(l.SrcVersion.Or0(b), maxWord),
		PerCPU:   Range{Addr: l.PerCPU.Or0(b), Size: uint64(l.PerCPUSize.Or0(b))},
		sections: l.Sections.Or0(b),
	}
	m.Regions = r.regions(b)
	r.findSymtab(m, b)
	if r.module.BuildID.Has() {
		m.buildID = bytes.Clone(r.module.BuildID.Get(b))
	}
	return m, nil
}

// Bounds of a module's strings.
const (
	maxArgs = 4096
	maxWord = 256
)

func (r *Reader) text(addr uint64, limit int) string {
	if addr == 0 {
		return ""
	}
	b, err := r.k.CString(addr, limit)
	if err != nil && len(b) == 0 {
		return ""
	}
	return cstr.Show(b)
}
