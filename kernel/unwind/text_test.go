package unwind_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/unwind"
)

// TestModuleText tells a module's code from its data, which are parts of one
// region until 6.3 and regions of their own since.
func TestModuleText(t *testing.T) {
	n := 0
	for _, l := range synthetic.Releases() {
		if !l.Has("module", "list") {
			continue
		}
		n++
		t.Run(l.Name, func(t *testing.T) {
			built := synthetic.New(l, synthetic.Machine{})
			m := built.Module("widget")
			function := m.Func("first", make([]byte, 0x20))
			k := kerneltest.Synthetic(t, built)
			modules, err := module.Attach(k)
			if err != nil {
				t.Fatal(err)
			}
			tracer, err := unwind.New(k, modules)
			if err != nil {
				t.Fatal(err)
			}
			if !tracer.IsText(function + 4) {
				t.Errorf("%#x, in a function, is no code", function+4)
			}
			if tracer.IsText(m.Addr) {
				t.Errorf("%#x, in the struct module, is code", m.Addr)
			}
		})
	}
	if n < 3 {
		t.Errorf("only %d releases have a struct module", n)
	}
}
