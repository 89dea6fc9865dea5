package module_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
)

// TestReleases reads a module out of kernels of each way to keep it in memory.
func TestReleases(t *testing.T) {
	n := 0
	for _, l := range synthetic.Releases() {
		if !l.Has("module", "list") {
			continue
		}
		n++
		t.Run(l.Name, func(t *testing.T) { checkRelease(t, l) })
	}
	if n < 3 {
		t.Errorf("only %d releases have a struct module", n)
	}
}

func checkRelease(t *testing.T, l *synthetic.Layout) {
	built := synthetic.New(l, synthetic.Machine{})
	text := build(built)
	k := kerneltest.Synthetic(t, built)
	table, err := module.Attach(k)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := table.At(text + 0x30)
	if !ok || m.Name != "old" || m.State != module.Going || m.TaintFlags() != "PO" || m.Args != "debug=1 name=x" || m.Base() != text {
		t.Fatalf("%+v", m)
	}
	if r, _ := m.Region(text); r.Text.Size < 0x100 || r.Size < r.Text.Size {
		t.Errorf("the module's code is in %+v", r)
	}
	// The last function reaches to the end of the code.
	if got, want := k.SymbolName(text+0x30), "second+0x10/0xe0 [old]"; got != want {
		t.Errorf("named %s, not %s", got, want)
	}
}

// build loads one module, of 0x100 bytes of code, and returns where it is.
func build(k *synthetic.Kernel) (text uint64) {
	m := k.Module("old")
	m.Text = 0x100
	m.Set("state", uint64(module.Going)).Set("taints", 1|1<<12).Set("args", k.String("debug=1 name=x"))
	m.Func("first", make([]byte, 0x20))
	m.Func(".L1\x02", nil)
	m.Func("$x", nil) // both mark the same place, and name nothing
	m.Func("second", make([]byte, 4))
	return m.Base
}
