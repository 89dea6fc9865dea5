package unwind_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/unwind"
)

func ExampleTracer_ModulesError() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	modules, err := module.Attach(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	tracer, err := unwind.New(k, modules)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tracer.ModulesError()) // functions of all modules are known
	// Output: <nil>
}
