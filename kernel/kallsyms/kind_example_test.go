package kallsyms_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kallsyms"
)

// The letters of /proc/kallsyms: T is a global function, d local data.
func ExampleKind() {
	kind, global := kallsyms.Kind('T')
	fmt.Println(kind == debuginfo.SymbolText, global)
	kind, global = kallsyms.Kind('d')
	fmt.Println(kind == debuginfo.SymbolData, global)
	// Output:
	// true true
	// true false
}
