package kallsyms_test

import (
	"fmt"
	"os"

	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kallsyms"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func ExampleRead() {
	mem := kerneltest.ExampleMemory() // as kernel.OpenMemory does
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
