package whatis_test

import (
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/whatis"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
)

// TestModuleMember: a place in a variable of a module is told with its member where the
// module's types are known.
func TestModuleMember(t *testing.T) {
	k := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	modules, err := module.Attach(k)
	if err != nil {
		t.Fatal(err)
	}
	types := module.AttachTypes(k, modules, func(*module.Module) (debuginfo.Source, error) {
		return debuginfo.Open(fixtures.Path(t, "mortem_plant.ko.xz"))
	})
	t.Cleanup(func() { types.Close() })
	sym, _, ok := modules.Lookup("mp_cycle_m1")
	if !ok {
		t.Fatal("mp_cycle_m1 is not known")
	}
	r := whatis.Look(k, sym.Addr+16)
	for _, a := range r.Answers {
		if a.Kind == whatis.Module && strings.HasSuffix(a.Text, ": mp_cycle_m1.wait_list.next [mortem_plant]") {
			return
		}
	}
	t.Errorf("%+v", r.Answers)
}
