package kernel

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/debuginfo"
)

// Symbol returns the runtime virtual address of a symbol of the kernel image.
// For a per-CPU variable that is its offset in each CPU's area. The error wraps
// ErrNotFound.
func (k *Kernel) Symbol(name string) (uint64, error) {
	sym, ok := k.info.Symbols().Lookup(name)
	if !ok {
		return 0, fmt.Errorf("symbol %s: %w", name, ErrNotFound)
	}
	return k.Runtime(sym.Addr), nil
}

// HasSymbol tells whether the kernel image has a symbol of that name.
func (k *Kernel) HasSymbol(name string) bool {
	_, ok := k.info.Symbols().Lookup(name)
	return ok
}

// SymbolAt returns the symbol that a runtime virtual address lies in, with its
// runtime address, and how far into it the address is.
func (k *Kernel) SymbolAt(virt uint64) (sym debuginfo.Symbol, offset uint64, ok bool) {
	// The last symbol marks the end of the image: without a size of its own it
	// would seem to hold everything above, modules included.
	end, ok := k.info.Symbols().Lookup("_end")
	if virt < k.Runtime(k.lowest) || ok && virt >= k.Runtime(end.Addr) {
		return debuginfo.Symbol{}, 0, false
	}
	if sym, ok = k.info.Symbols().Containing(virt - k.offset); !ok || sym.Addr < k.lowest {
		return debuginfo.Symbol{}, 0, false
	}
	sym.Addr += k.offset
	return sym, virt - sym.Addr, true
}

// ModuleSymbols finds the symbols of loaded modules by runtime virtual address, and
// those of their per-CPU variables by address less a processor's __per_cpu_offset.
// The module is named also where only the symbol is not known, and empty for an
// address outside of all modules. It is safe for use by many goroutines;
// *module.Table is one.
type ModuleSymbols interface {
	SymbolAt(virt uint64) (sym debuginfo.Symbol, module string, ok bool)
	PerCPUAt(addr uint64) (sym debuginfo.Symbol, module string, ok bool)
}

// SetModules makes SymbolName know the symbols of modules, as module.Attach
// does. It must be called before the kernel is used by several goroutines.
func (k *Kernel) SetModules(m ModuleSymbols) { k.modules = m }

// SymbolName names a runtime virtual address the way the kernel prints it:
// function+0x1a/0x60, and function+0x1a/0x60 [module] for one in a module if
// those are known. An address outside of all symbols is printed as a number.
func (k *Kernel) SymbolName(virt uint64) string {
	if name, ok := k.LookupName(virt); ok {
		return name
	}
	return fmt.Sprintf("%#x", virt)
}

// LookupName is SymbolName for a virtual address that may be anything: it tells
// whether it lies in the kernel image or a module.
func (k *Kernel) LookupName(virt uint64) (name string, ok bool) {
	if sym, off, ok := k.SymbolAt(virt); ok {
		return symbolName(sym, off), true
	}
	if k.modules == nil {
		return "", false
	}
	sym, module, ok := k.modules.SymbolAt(virt)
	switch {
	case ok:
		return symbolName(sym, virt-sym.Addr) + " [" + module + "]", true
	case module != "":
		return fmt.Sprintf("%#x [%s]", virt, module), true
	}
	return "", false
}

func symbolName(sym debuginfo.Symbol, off uint64) string {
	switch {
	case off == 0:
		return sym.Name
	case sym.Size == 0:
		return fmt.Sprintf("%s+%#x", sym.Name, off)
	}
	return fmt.Sprintf("%s+%#x/%#x", sym.Name, off, sym.Size)
}
