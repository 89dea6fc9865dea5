package module

import (
	"errors"
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
	modules []*described // in the order of the list modules
}

// described is a module with its debug information.
type described struct {
	*Module
	opened   bool
	source   debuginfo.Source // nil where there is none, or it has not been opened
	placed   bool
	sections []kernel.LoadedSection
}

// AttachTypes makes the kernel know the types and variables of modules. open
// opens the debug information of one module and must not ask the kernel for
// types itself; modules for which it fails are passed over. Like Attach, it must be
// called before the kernel is used by several goroutines.
func AttachTypes(k *kernel.Kernel, table *Table, open func(*Module) (debuginfo.Source, error)) *Types {
	t := &Types{table: table, open: open}
	k.SetModuleTypes(t)
	return t
}

// Type implements kernel.ModuleTypes.
func (t *Types) Type(name string) (*ctype.Type, error) {
	var found *ctype.Type
	t.each(func(d *described) bool {
		if t.sourceOf(d) == nil {
			return true
		}
		typ, err := d.source.Type(name)
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
		t.each(func(d *described) bool {
			if d.Name != in {
				return true
			}
			if t.sourceOf(d) != nil {
				found, _ = d.source.Variable(sym.Name)
			}
			return false
		})
	}
	if found == nil {
		return nil, 0, fmt.Errorf("variable %s: %w of any module", name, kernel.ErrNotFound)
	}
	return found, sym.Addr, nil
}

// Code implements kernel.ModuleTypes.
func (t *Types) Code(virt uint64) (source debuginfo.Source, sections []kernel.LoadedSection, ok bool) {
	m, ok := t.table.At(virt)
	if !ok {
		return nil, nil, false
	}
	t.each(func(d *described) bool {
		if d.Module != m {
			return true
		}
		if source = t.sourceOf(d); source != nil && !d.placed {
			d.placed, d.sections = true, t.table.placeSections(m, source)
		}
		sections = d.sections
		return false
	})
	return source, sections, source != nil
}

// sourceOf is a module's debug information, nil where there is none.
func (t *Types) sourceOf(d *described) debuginfo.Source {
	if !d.opened {
		d.opened = true
		if source, err := t.open(d.Module); err == nil {
			d.source = source
		}
	}
	return d.source
}

// each visits the modules until visit has enough.
func (t *Types) each(visit func(*described) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.listed {
		t.listed = true
		list, _ := t.table.Modules() // those that cannot be read have no types
		for _, m := range list {
			t.modules = append(t.modules, &described{Module: m})
		}
	}
	for _, d := range t.modules {
		if !visit(d) {
			return
		}
	}
}

// Close closes the debug information that was opened. It returns their errors.
func (t *Types) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	for _, d := range t.modules {
		if d.source != nil {
			err = errors.Join(err, d.source.Close())
		}
	}
	t.modules = nil
	return err
}
