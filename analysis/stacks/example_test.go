package stacks_test

import (
	"context"
	"fmt"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func ExampleTasks_Collect() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	tasks, err := stacks.Open(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := tasks.Collect(context.Background(), stacks.Options{PIDs: []int32{2}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range r.Stacks {
		fmt.Println(s.Comm, s.State)
		for _, f := range s.Frames {
			fmt.Println(" ", f.Function)
		}
		fmt.Println(" ", s.End)
	}
	// Output:
	// kthreadd S
	//   __schedule
	//   schedule
	//   kthreadd
	//   ret_from_fork
	//   start of thread
}
