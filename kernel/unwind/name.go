package unwind

import "fmt"

// Function is the function that a frame is in, as symbols name it.
type Function struct {
	Name   string
	Module string // empty for the kernel image
	Offset uint64 // of the frame's PC in it, in bytes
	Size   uint64 // of the function in bytes
	Start  uint64 // virtual address
}

// String is the function the way the kernel prints it: name+0x1a/0x60 [module].
func (f Function) String() string {
	s := fmt.Sprintf("%s+%#x", f.Name, f.Offset)
	if f.Size != 0 { // it is unknown of some assembly
		s += fmt.Sprintf("/%#x", f.Size)
	}
	if f.Module != "" {
		s += " [" + f.Module + "]"
	}
	return s
}

// Function finds the function of a frame. Where a call is a function's last
// instruction, the return address is that of the next one: what counts is the
// byte before.
func (t *Tracer) Function(f *Frame) (Function, bool) {
	at := f.Lookup()
	if sym, off, ok := t.k.SymbolAt(at); ok {
		return Function{Name: sym.Name, Offset: off + f.PC - at, Size: sym.Size, Start: sym.Addr}, true
	}
	if t.modules == nil {
		return Function{}, false
	}
	sym, mod, ok := t.modules.SymbolAt(at)
	if !ok {
		return Function{Module: mod}, false
	}
	return Function{Name: sym.Name, Module: mod, Offset: f.PC - sym.Addr, Size: sym.Size, Start: sym.Addr}, true
}
