package module

import (
	"fmt"
	"sync"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// Types finds types and variables in the debug information of loaded modules.
// It opens that of one module after the other, when it is first asked for a name
// that the ones before do not have. It is safe for use by many goroutines.
type Types struct {
	table *Table
	open  func(*Module) (debuginfo.Source, error)

	mu      sync.Mutex
	listed  bool
	waiting []*Module // not opened yet
	opened  []opened
}

type opened struct {
	module *Module
	source debuginfo.Source
}

// AttachTypes makes the kernel know the types and variables of modules. open
// opens the debug information of one module and must not ask the kernel for
// types itself; modules for which it fails are passed over. Like Attach, it must be called before the kernel is used by
// several goroutines.
func AttachTypes(k *kernel.Kernel, table *Table, open func(*Module) (debuginfo.Source, error)) *Types {
	t := &Types{table: table, open: open}
	k.SetModuleTypes(t)
	return t
}

// Type implements kernel.ModuleTypes.
func (t *Types) Type(name string) (*ctype.Type, error) {
	var found *ctype.Type
	t.each(func(o opened) bool {
		typ, err := o.source.Type(name)
		if err == nil && !typ.Incomplete {
			found = typ
		}
		return found == nil
	})
	if found == nil {
		return nil, fmt.Errorf("type %s: %w of any module", name, kernel.ErrNotFound)
	}
	return found, nil
}

// Variable implements kernel.ModuleTypes: the type is that of the module's
// debug information, the address that of the symbol in the dump.
func (t *Types) Variable(name string) (found *ctype.Type, addr uint64, err error) {
	sym, in, ok := t.table.Lookup(name)
	if ok {
		t.each(func(o opened) bool {
			if o.module.Name == in {
				found, _ = o.source.Variable(sym.Name)
				return false
			}
			return true
		})
	}
	if found == nil {
		return nil, 0, fmt.Errorf("variable %s: %w of any module", name, kernel.ErrNotFound)
	}
	return found, sym.Addr, nil
}

// each visits the modules with debug information until visit has enough.
func (t *Types) each(visit func(opened) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.listed {
		t.listed = true
		for m, err := range t.table.Reader().All() {
			if err == nil {
				t.waiting = append(t.waiting, m)
			}
		}
	}
	for _, o := range t.opened {
		if !visit(o) {
			return
		}
	}
	for len(t.waiting) > 0 {
		m := t.waiting[0]
		t.waiting = t.waiting[1:]
		source, err := t.open(m)
		if err != nil {
			continue
		}
		o := opened{m, source}
		t.opened = append(t.opened, o)
		if !visit(o) {
			return
		}
	}
}

// Close closes the debug information that was opened.
func (t *Types) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var first error
	for _, o := range t.opened {
		if err := o.source.Close(); err != nil && first == nil {
			first = err
		}
	}
	t.opened = nil
	return first
}
