package btf_test

import (
	"fmt"
	"os"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo/btf"
)

func ExampleParse() {
	raw, err := os.ReadFile("../testdata/built/types.btf")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	types, err := btf.Parse(raw)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	_ = ctype.Print(os.Stdout, types.Type(ctype.Struct, "list_head"), ctype.PrintOptions{})
	// Output:
	// struct list_head {
	// 	struct list_head *next;                         /*     0        8 */
	// 	struct list_head *prev;                         /*     8        8 */
	// 	/* size: 16, members: 2 */
	// };
}
