package kernel_test

import (
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
)

// Memory by virtual addresses without any debug information: VMCOREINFO says where the
// name of the machine is, which struct new_utsname has in fields of 65 bytes.
func ExampleOpenMemory() {
	image, err := dump.Open([]string{"../fixtures/data/main/vmcore.kdump"})
	if err != nil {
		panic(err)
	}
	defer image.Close()
	mem, err := kernel.OpenMemory(image)
	if err != nil {
		panic(err)
	}
	info := image.Facts().VMCoreInfo
	at, _ := info.Symbol("init_uts_ns")
	name, _ := info.Offset("uts_namespace.name")
	uts := make([]byte, 2*65)
	if _, err := mem.Read(uts, at+name); err != nil {
		panic(err)
	}
	fmt.Println(cstr.ShowC(uts), cstr.ShowC(uts[65:]))
	// Output: Linux mortem-guest
}
