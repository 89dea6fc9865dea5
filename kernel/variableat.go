package kernel

import (
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// Variable is a global variable of the kernel's image or of a module.
type Variable struct {
	Name   string
	Module string      // empty for one of the image
	Addr   uint64      // runtime virtual address
	Type   *ctype.Type // nil where it is not known, as where a module's debug information is not at hand
}

// VariableAt is the variable that a runtime virtual address lies in; for an address in
// another symbol, such as a function, that one without a type.
func (k *Kernel) VariableAt(virt uint64) (Variable, bool) {
	if sym, off, ok := k.SymbolAt(virt); ok {
		v := Variable{Name: sym.Name, Addr: virt - off}
		if t, err := k.info.Variable(sym.Name); err == nil && off < uint64(max(t.Size(), 0)) {
			v.Type = t
		}
		return v, true
	}
	if k.modules == nil {
		return Variable{}, false
	}
	sym, module, ok := k.modules.SymbolAt(virt)
	if !ok {
		return Variable{}, false
	}
	return k.moduleVariable(sym, module, virt), true
}

// ModulePerCPUAt is the per-CPU variable of a module that an address lies in, which is
// one of a processor's copy less that processor's __per_cpu_offset; so is the address of
// the variable.
func (k *Kernel) ModulePerCPUAt(addr uint64) (Variable, bool) {
	if k.modules == nil {
		return Variable{}, false
	}
	sym, module, ok := k.modules.PerCPUAt(addr)
	if !ok {
		return Variable{}, false
	}
	return k.moduleVariable(sym, module, addr), true
}

func (k *Kernel) moduleVariable(sym debuginfo.Symbol, module string, at uint64) Variable {
	v := Variable{Name: sym.Name, Module: module, Addr: sym.Addr}
	if k.moduleTypes == nil {
		return v
	}
	// Static variables of several files may have one name: the symbol must be the one.
	t, addr, err := k.moduleTypes.Variable(module + ":" + sym.Name)
	if err == nil && addr == sym.Addr && at-sym.Addr < uint64(max(t.Size(), 0)) {
		v.Type = t
	}
	return v
}

// In is a name of the variable's, such as one with a member, with the module that it is of,
// as SymbolName has it.
func (v *Variable) In(name string) string {
	if v.Module == "" {
		return name
	}
	return name + " [" + v.Module + "]"
}
