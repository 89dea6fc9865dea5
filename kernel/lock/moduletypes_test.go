package lock_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
	"github.com/kmortem/mortem/kernel/variable"
)

// withoutLocals is debug information as a pack file or BTF has it: types and variables,
// and nothing of what functions have.
type withoutLocals struct{ debuginfo.Source }

// withModule opens the main boot with the debug information of its module.
func withModule(t *testing.T, whole bool) (*kernel.Kernel, *lock.Snapshot) {
	t.Helper()
	k := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	modules, err := module.Attach(k)
	if err != nil {
		t.Fatal(err)
	}
	file := fixtures.Path(t, "mortem_plant.ko.xz")
	types := module.AttachTypes(k, modules, func(*module.Module) (debuginfo.Source, error) {
		source, err := debuginfo.Open(file)
		if err != nil || whole {
			return source, err
		}
		return withoutLocals{source}, nil
	})
	t.Cleanup(func() { types.Close() })
	tracer, err := unwind.New(k, modules)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	r, err := lock.Open(k, tasks, tracer, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Snapshot(t.Context(), lock.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return k, s
}

// TestModuleTypes: with the debug information of a module, locks in its objects are named
// by their type and member, and so are places in its variables.
func TestModuleTypes(t *testing.T) {
	for _, whole := range []bool{true, false} {
		k, s := withModule(t, whole)
		widgets := 0
		for i := range s.Locks {
			o := s.Locks[i].Object
			if o == nil || o.Cache != "mortem_widget" {
				continue
			}
			widgets++
			if o.Type != "struct mp_widget" || o.Member != "lock" || uint64(s.Locks[i].Addr-o.Addr) != moduleOffset(t, "struct mp_widget", "lock") {
				t.Errorf("whole %v: %+v", whole, o)
			}
		}
		if widgets != 2 { // of the ABBA deadlock
			t.Errorf("whole %v: %d locks of widgets", whole, widgets)
		}
		for i := range s.Locks {
			l := &s.Locks[i]
			if l.Symbol != "mp_cycle_m1 [mortem_plant]" {
				continue
			}
			at := uint64(l.Addr) + moduleOffset(t, "struct mutex", "wait_list")
			if name := variable.Name(k, at); name != "mp_cycle_m1.wait_list.next [mortem_plant]" {
				t.Errorf("whole %v: %#x is %s", whole, at, name)
			}
		}
	}
}

// moduleOffset is where a member lies in a type of the module.
func moduleOffset(t *testing.T, typ, member string) uint64 {
	t.Helper()
	source, err := debuginfo.Open(fixtures.Path(t, "mortem_plant.ko.xz"))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	s, err := source.Type(typ)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Field(member)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(f.Offset)
}

// TestVariableAt: a variable of a module has its type where the module's is known.
func TestVariableAt(t *testing.T) {
	k, s := withModule(t, true)
	bare := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	if _, err := module.Attach(bare); err != nil {
		t.Fatal(err)
	}
	found := 0
	for i := range s.Locks {
		l := &s.Locks[i]
		if l.Symbol != "mp_chain_1 [mortem_plant]" {
			continue
		}
		found++
		v, ok := k.VariableAt(uint64(l.Addr) + 8)
		if !ok || v.Name != "mp_chain_1" || v.Module != "mortem_plant" || v.Addr != uint64(l.Addr) || v.Type == nil || v.Type.String() != "struct mutex" {
			t.Errorf("%+v, %v", v, ok)
		}
		if v, ok = bare.VariableAt(uint64(l.Addr) + 8); !ok || v.Name != "mp_chain_1" || v.Type != nil {
			t.Errorf("without types: %+v, %v", v, ok)
		}
	}
	if v, ok := k.VariableAt(0xffff888000000000); ok {
		t.Errorf("%+v", v)
	}
	if found != 1 {
		t.Errorf("%d locks", found)
	}
}
