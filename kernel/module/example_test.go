package module_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
)

func ExampleAttach() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	modules, err := module.Attach(k)
	if err != nil {
		panic(err)
	}
	s, name, _ := modules.Lookup("mp_park")
	fmt.Println(name, k.SymbolName(s.Addr+0x31))
	// Output: mortem_plant mp_park+0x31/0x50 [mortem_plant]
}

// The modules one after the other, as lsmod has them.
func ExampleNew() {
	modules, err := module.New(kerneltest.ExampleKernel())
	if err != nil {
		panic(err)
	}
	for m, err := range modules.All() {
		if err != nil {
			fmt.Println(err) // that one cannot be read
			continue
		}
		fmt.Println(m.Name, m.State, m.TaintFlags())
	}
	// Output: mortem_plant Live O
}

// With the debug information of a module the kernel knows its types and variables.
func ExampleAttachTypes() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	modules, err := module.Attach(k)
	if err != nil {
		panic(err)
	}
	types := module.AttachTypes(k, modules, func(*module.Module) (debuginfo.Source, error) {
		return debuginfo.Open("../../fixtures/data/mortem_plant.ko.xz") // package find looks for it
	})
	defer types.Close()
	t, err := k.Type("struct mp_widget")
	if err != nil {
		panic(err)
	}
	fmt.Println(t, t.Members()[0].Name)
	magic, err := k.Object("mp_widget_a").Field("magic").Uint()
	fmt.Printf("%#x %v\n", magic, err)
	// Output:
	// struct mp_widget magic
	// 0x7767646d726f6d57 <nil>
}
