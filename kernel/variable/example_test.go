package variable_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/variable"
)

func ExampleName() {
	k := kerneltest.ExampleKernel()
	at, err := k.Symbol("init_task")
	if err != nil {
		fmt.Println(err)
		return
	}
	comm, err := k.Info().Variable("init_task")
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := comm.Field("comm")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(variable.Name(k, at+uint64(m.Offset)))
	// Output: init_task.comm[0]
}

func ExamplePerCPUAt() {
	k := kerneltest.ExampleKernel()
	runqueues, err := k.Symbol("runqueues")
	if err != nil {
		fmt.Println(err)
		return
	}
	at, err := k.PerCPU(runqueues, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, ok := variable.PerCPUAt(k, at+8)
	fmt.Println(v.Name, v.CPU, v.Offset, ok)
	// Output: runqueues 2 8 true
}
