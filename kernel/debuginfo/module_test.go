package debuginfo_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// The fixture's module: its own variables, functions and lines, and the
// kernel's types as the kernel has them.
func TestModuleOfFixture(t *testing.T) {
	module := open(t, fixtures.Path(t, "mortem_plant.ko.xz"))
	kernel := open(t, fixtures.Unpacked(t, "vmlinux.xz"))
	for _, name := range []string{"struct task_struct", "struct mutex", "struct module"} {
		a, err1 := module.Type(name)
		b, err2 := kernel.Type(name)
		if err1 != nil || err2 != nil || a.Size() != b.Size() || len(a.Members()) != len(b.Members()) {
			t.Errorf("%s: %v in the module, %v in the kernel (%v, %v)", name, a, b, err1, err2)
		}
	}
	functions := 0
	for sym := range module.Symbols().All() {
		if sym.Kind != debuginfo.SymbolText || sym.Size < 8 {
			continue
		}
		frames, err := module.(debuginfo.Lines).Frames(sym.Addr + 4)
		if err != nil || len(frames) == 0 {
			t.Errorf("%s: no frames (%v)", sym.Name, err)
			continue
		}
		outermost := frames[len(frames)-1]
		if name, _, _ := strings.Cut(sym.Name, "."); outermost.Name != name && !alias(module, outermost.Name, sym.Name) {
			t.Errorf("the code of %s is said to be %s", sym.Name, outermost.Name)
		}
		if outermost.Line.File != "" {
			functions++
		}
	}
	if functions == 0 {
		t.Error("no function has a line")
	}
	pack := packOf(t, kernel, debuginfo.Module{Name: "mortem_plant", Source: module})
	packed, err := pack.(debuginfo.HasModules).Module("mortem_plant")
	if err != nil {
		t.Fatal(err)
	}
	comparePrints(t, module, packed)
	compareLines(t, module, packed)
	want, _, err1 := module.(debuginfo.Sections).Section(".debug_frame")
	got, _, err2 := packed.(debuginfo.Sections).Section(".debug_frame")
	if err1 != nil || err2 != nil || len(want) == 0 || !bytes.Equal(want, got) {
		t.Errorf(".debug_frame: %d bytes in the pack, %d in the module (%v, %v)", len(got), len(want), err2, err1)
	}
}
