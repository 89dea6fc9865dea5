// Package variable answers which variable of the kernel or of a module lies at an
// address: by its symbol, by the processor whose copy of a per-CPU variable it is, and
// down to the member where its type is known. It goes over the memory of all of them.
package variable

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/module"
)

// Name names the variable that a virtual address of the kernel's image or a module
// lies in, with the member at the address where the variable's type is known, such
// as "init_net.ipv6.ip6_dst_ops.kmem_cachep".
func Name(k *kernel.Kernel, addr uint64) string {
	v, ok := k.VariableAt(addr)
	if !ok || v.Type == nil {
		return k.SymbolName(addr)
	}
	path, _, rest := v.Type.PathAt(int64(addr - v.Addr))
	if path == "" && addr != v.Addr {
		return k.SymbolName(addr)
	}
	name := v.Name
	if path != "" && path[0] != '[' {
		name += "."
	}
	if name += path; rest != 0 {
		name += fmt.Sprintf("+%d", rest)
	}
	return v.In(name)
}

// Type is the type of what lies at a virtual address of a variable of the kernel's
// image, or of a module whose types are known (module.AttachTypes), such as a pointer in
// a structure; nil where that is not known.
func Type(k *kernel.Kernel, addr uint64) *ctype.Type {
	v, ok := k.VariableAt(addr)
	if !ok || v.Type == nil {
		return nil
	}
	t := v.Type
	if t.Strip().Kind != ctype.Struct && t.Strip().Kind != ctype.Array {
		return t
	}
	_, t, rest := t.PathAt(int64(addr - v.Addr))
	if rest != 0 {
		return nil
	}
	return t
}

// PerCPU is a processor's copy of a static per-CPU variable.
type PerCPU struct {
	CPU int
	// Name is the variable's, empty where there is no symbol; Offset is how far an
	// address lies in it, or in the processor's area where it has no name.
	Name   string
	Module string // empty for one of the kernel's image
	Offset uint64
	Size   uint64      // bytes; 0 where it is not known
	Type   *ctype.Type // nil where it is not known
}

// In is a name of the variable's, such as one with a member, with the module that it is
// of, as SymbolName has it, and the processor.
func (v *PerCPU) In(name string) string {
	of := kernel.Variable{Module: v.Module}
	return fmt.Sprintf("%s of CPU %d", of.In(name), v.CPU)
}

// PerCPUAt finds the copies of static per-CPU variables, of the kernel or of a module,
// that a kernel virtual address lies in: one, or none.
func PerCPUAt(k *kernel.Kernel, addr uint64) (PerCPU, bool) {
	start, err1 := k.Symbol("__per_cpu_start")
	end, err2 := k.Symbol("__per_cpu_end")
	if err1 != nil || err2 != nil || end <= start {
		return PerCPU{}, false
	}
	for _, area := range k.CPUAreas() {
		if at := start + area.Offset; addr >= at && addr-at < end-start {
			return perCPUOfKernel(k, area, start, addr-at), true
		}
		if v, ok := k.ModulePerCPUAt(addr - area.Offset); ok {
			p := PerCPU{CPU: area.CPU, Name: v.Name, Module: v.Module, Offset: addr - area.Offset - v.Addr, Type: v.Type}
			if v.Type != nil {
				p.Size = uint64(max(v.Type.Size(), 0))
			}
			return p, true
		}
	}
	return PerCPU{}, false
}

// perCPUOfKernel is what a processor's copy of the kernel's own per-CPU variables, which
// begin at a symbol, has at an offset.
func perCPUOfKernel(k *kernel.Kernel, area kernel.CPUArea, start, off uint64) PerCPU {
	v := PerCPU{CPU: area.CPU, Offset: off}
	at := start + off
	if k.Runtime(at) != at { // those low in the address space are not moved
		at -= k.Offset()
	}
	sym, ok := k.Info().Symbols().Containing(at)
	if !ok {
		return v
	}
	v.Name, v.Offset, v.Size = sym.Name, at-sym.Addr, sym.Size
	if t, err := k.Info().Variable(sym.Name); err == nil && int64(v.Offset) < t.Size() {
		v.Type = t
	}
	return v
}

// Scan goes over the constants and variables of the kernel and of its modules, some
// memory at a virtual address at a time, which holds until visit returns. What cannot be
// read is passed over: most of it was freed after boot, and what a dump lacks of the
// image info tells.
func Scan(k *kernel.Kernel, visit func(mem []byte, at uint64)) {
	if from, end, ok := image(k); ok {
		scan(k, from, end, visit)
	}
	reader, err := module.New(k)
	if err != nil {
		return // a kernel without modules
	}
	for m, err := range reader.All() {
		if err != nil {
			continue // mod tells
		}
		for _, region := range m.Regions {
			if region.Size < 1<<28 && region.Kind != "text" {
				scan(k, (region.Addr+7)&^7, region.Addr+region.Size, visit)
			}
		}
	}
}

// image is where the kernel's image has its constants and variables.
func image(k *kernel.Kernel) (from, end uint64, ok bool) {
	symbol := func(names ...string) uint64 {
		for _, name := range names {
			if at, err := k.Symbol(name); err == nil {
				return at
			}
		}
		return 0
	}
	from, end = symbol("__start_rodata", "_etext", "_stext", "_text"), symbol("_end", "__bss_stop")
	return from &^ 7, end, from != 0 && end > from && end-from < 1<<30
}

func scan(k *kernel.Kernel, from, end uint64, visit func(mem []byte, at uint64)) {
	buf := make([]byte, k.PageSize())
	for at := from; at < end; {
		n := min(k.PageSize()-at%k.PageSize(), end-at)
		if mem, err := k.Peek(at, buf[:n]); err == nil {
			visit(mem, at)
		}
		at += n
	}
}
