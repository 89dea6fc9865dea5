package expr_test

import (
	"fmt"
	"os"

	"github.com/kmortem/mortem/kernel/expr"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func ExampleEval() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	v, err := expr.Eval(k, "container_of(super_blocks.next, struct super_block, s_list)->s_id")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := expr.Format(os.Stdout, k, v); err != nil {
		fmt.Println(err)
	}
	// Output: "tmpfs"
}
