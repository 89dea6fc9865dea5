package kernel_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
)

func ExampleKernel_VariableAt() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	at, err := k.Symbol("rtnl_mutex")
	if err != nil {
		fmt.Println(err)
		return
	}
	v, ok := k.VariableAt(at + 8)
	fmt.Println(v.In(v.Name), v.Type, ok)
	// Output: rtnl_mutex struct mutex true
}
