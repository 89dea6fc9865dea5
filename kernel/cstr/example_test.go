package cstr_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/cstr"
)

// The name of a task, as it lies in 16 bytes of memory.
func ExampleShowC() {
	fmt.Println(cstr.ShowC([]byte("evil\x1b[2J\x00left over")))
	// Output: evil\x1b[2J
}

// The name of a function, as it is and as somebody forged it.
func ExampleName() {
	fmt.Println(cstr.Name("d_lookup"), cstr.Name("d_\nlookup"))
	// Output: d_lookup d_\nlookup
}

// A string that lies in a buffer of fixed size.
func ExampleTrim() {
	fmt.Printf("%q\n", cstr.Trim([]byte("tmpfs\x00\x00\x00")))
	// Output: "tmpfs"
}

// A source file in somebody's debug information.
func ExamplePath() {
	fmt.Println(cstr.Path("mm/slub.c"), cstr.Path("mm/\x1b[2Jslub.c"))
	// Output: mm/slub.c mm/\x1b[2Jslub.c
}
