package variable_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/variable"
)

// TestModulePerCPU: the module's percpu_rw_semaphores point to their counters, which the
// kernel's DEFINE_STATIC_PERCPU_RWSEM defines as per-CPU variables of the module.
func TestModulePerCPU(t *testing.T) {
	k := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	table, err := module.Attach(k)
	if err != nil {
		t.Fatal(err)
	}
	typ, err := k.Type("struct percpu_rw_semaphore")
	if err != nil {
		t.Fatal(err)
	}
	readCount, err := typ.Field("read_count")
	if err != nil {
		t.Fatal(err)
	}
	areas := k.CPUAreas()
	if len(areas) < 2 {
		t.Fatalf("%d processors", len(areas))
	}
	for _, name := range []string{"mp_percpu_r", "mp_percpu_w"} {
		sem, of, ok := table.Lookup(name)
		if !ok {
			t.Fatalf("no %s", name)
		}
		counter, err := k.Uint64(sem.Addr + uint64(readCount.Offset))
		if err != nil {
			t.Fatal(err)
		}
		for _, area := range areas {
			v, ok := variable.PerCPUAt(k, counter+area.Offset+1)
			if !ok || v.Name != "__percpu_rwsem_rc_"+name || v.Module != of || v.CPU != area.CPU || v.Offset != 1 {
				t.Errorf("%s, CPU %d: %+v %v", name, area.CPU, v, ok)
			}
		}
	}
	for _, m := range must(table.Modules()) {
		for _, beside := range []uint64{m.PerCPU.Addr - 1, m.PerCPU.Addr + m.PerCPU.Size} {
			if v, ok := variable.PerCPUAt(k, areas[1].Offset+beside); ok && v.Module == m.Name {
				t.Errorf("%#x, outside of the per-CPU variables of %s, is %+v", beside, m.Name, v)
			}
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
