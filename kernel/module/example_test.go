package module_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
)

func ExampleAttach() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	modules, err := module.Attach(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	s, name, _ := modules.Lookup("mp_park")
	fmt.Println(name, k.SymbolName(s.Addr+0x31))
	// Output: mortem_plant mp_park+0x31/0x50 [mortem_plant]
}
