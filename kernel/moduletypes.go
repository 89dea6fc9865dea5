package kernel

import (
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// ModuleTypes finds types and variables that only loaded modules have, and the
// debug information about their code. It is safe for use by many goroutines;
// *module.Types is one.
type ModuleTypes interface {
	// Type returns a type by its C name. The error wraps ErrNotFound for a
	// name that no module with debug information has.
	Type(name string) (*ctype.Type, error)
	// Variable returns the type and the runtime virtual address of a global
	// variable.
	Variable(name string) (t *ctype.Type, addr uint64, err error)
	// Code returns the debug information of the module that a runtime virtual
	// address lies in, and where the module's sections are.
	Code(virt uint64) (debuginfo.Source, []LoadedSection, bool)
}

// SetModuleTypes makes Type, Object and CodeAt know what modules have. It must be
// called before the kernel is used by several goroutines.
func (k *Kernel) SetModuleTypes(m ModuleTypes) { k.moduleTypes = m }
