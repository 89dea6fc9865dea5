package kallsyms_test

import (
	"fmt"
	"os"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kallsyms"
)

func ExampleRead() {
	image, err := dump.Open([]string{"../../fixtures/data/main/vmcore.kdump"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer image.Close()
	mem, err := kernel.OpenMemory(image)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	list, err := kallsyms.Read(mem)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	symbols := debuginfo.NewSymbols(list)
	s, ok := symbols.Lookup("_stext")
	fmt.Printf("%s %#x %v\n", s.Name, s.Addr, ok)
	// Output: _stext 0xffffffff81000000 true
}
