package module

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// Table finds modules and their symbols by address and by name. It reads the
// list of modules when it is first asked, and the symbols of a module when one
// of its addresses is. It is safe for use by many goroutines.
type Table struct {
	reader *Reader

	once    sync.Once
	modules []*entry
	regions []region // ascending by address
	percpu  []region // Module.PerCPU, ascending
	err     error
}

type entry struct {
	*Module
	once    sync.Once
	symbols []debuginfo.Symbol
}

type region struct {
	Range
	of *entry
}

// Attach makes the kernel name addresses in modules too: SymbolName then gives
// function+0x1a/0x60 [module]. It reads nothing yet. It must be called before
// the kernel is used by several goroutines. Errors are those of New.
func Attach(k *kernel.Kernel) (*Table, error) {
	r, err := New(k)
	if err != nil {
		return nil, err
	}
	t := &Table{reader: r}
	k.SetModules(t)
	return t, nil
}

// Reader is what the table reads modules with.
func (t *Table) Reader() *Reader { return t.reader }

// Modules returns the modules that could be read, the one loaded last first,
// and the first error that kept others from it.
func (t *Table) Modules() ([]*Module, error) {
	t.load()
	list := make([]*Module, len(t.modules))
	for i, e := range t.modules {
		list[i] = e.Module
	}
	return list, t.err
}

func (t *Table) load() {
	t.once.Do(func() {
		for m, err := range t.reader.All() {
			if err != nil {
				if t.err == nil {
					t.err = err
				}
				continue
			}
			e := &entry{Module: m}
			t.modules = append(t.modules, e)
			for _, r := range m.Regions {
				t.regions = append(t.regions, region{r.Range, e})
			}
			if m.PerCPU.Size > 0 {
				t.percpu = append(t.percpu, region{m.PerCPU, e})
			}
		}
		byAddr := func(a, b region) int { return cmp.Compare(a.Addr, b.Addr) }
		slices.SortFunc(t.regions, byAddr)
		slices.SortFunc(t.percpu, byAddr)
	})
}

func (t *Table) entry(virt uint64) *entry {
	t.load()
	return find(t.regions, virt)
}

// find is the module whose region an address lies in, nil where there is none.
func find(list []region, addr uint64) *entry {
	i, exact := slices.BinarySearchFunc(list, addr, func(r region, addr uint64) int { return cmp.Compare(r.Addr, addr) })
	if !exact {
		i--
	}
	if i < 0 || !list[i].Contains(addr) {
		return nil
	}
	return list[i].of
}

// list is the module's symbols. Those that cannot be read are as if there were
// none: the table names what it can.
func (e *entry) list(r *Reader) []debuginfo.Symbol {
	e.once.Do(func() {
		if e.State != Unformed {
			e.symbols, _ = r.Symbols(e.Module)
		}
	})
	return e.symbols
}

// At returns the module whose memory a kernel virtual address lies in.
func (t *Table) At(virt uint64) (*Module, bool) {
	e := t.entry(virt)
	if e == nil {
		return nil, false
	}
	return e.Module, true
}

// SymbolAt returns the symbol that a runtime virtual address lies in, and its
// module. It implements kernel.ModuleSymbols.
func (t *Table) SymbolAt(virt uint64) (sym debuginfo.Symbol, module string, ok bool) {
	e := t.entry(virt)
	if e == nil {
		return debuginfo.Symbol{}, "", false
	}
	sym, ok = e.symbolAt(t.reader, virt)
	return sym, e.Name, ok
}

// PerCPUAt returns the symbol of a module's per-CPU variable that an address lies in,
// which is one of a processor's copy less that processor's __per_cpu_offset, and its
// module. It implements kernel.ModuleSymbols.
func (t *Table) PerCPUAt(addr uint64) (sym debuginfo.Symbol, module string, ok bool) {
	t.load()
	e := find(t.percpu, addr)
	if e == nil {
		return debuginfo.Symbol{}, "", false
	}
	sym, ok = e.symbolAt(t.reader, addr)
	return sym, e.Name, ok
}

// symbolAt is the symbol of the module's that an address lies in.
func (e *entry) symbolAt(r *Reader, virt uint64) (debuginfo.Symbol, bool) {
	list := e.list(r)
	after, _ := slices.BinarySearchFunc(list, virt, func(s debuginfo.Symbol, virt uint64) int {
		if s.Addr <= virt {
			return -1
		}
		return 1
	})
	i := after - 1
	for i > 0 && list[i-1].Addr == list[i].Addr {
		i-- // the first of several is the kernel's choice
	}
	if i < 0 || virt-list[i].Addr >= list[i].Size {
		return debuginfo.Symbol{}, false
	}
	return list[i], true
}

// Lookup returns the symbol of a name, which may be "module:name", with its
// runtime address, and its module: the first in the order of the list of
// modules.
func (t *Table) Lookup(name string) (sym debuginfo.Symbol, module string, ok bool) {
	of, rest, named := strings.Cut(name, ":")
	if named {
		name = rest
	}
	t.load()
	for _, e := range t.modules {
		if named && e.Name != of {
			continue
		}
		for _, s := range e.list(t.reader) {
			if s.Name == name {
				return s, e.Name, true
			}
		}
	}
	return debuginfo.Symbol{}, "", false
}
