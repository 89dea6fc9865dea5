package task_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
)

func ExampleReader_All() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	tasks, err := task.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	for t, err := range tasks.All() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(t.PID, t.Comm) // the first in the list
		break
	}
	// Output: 1 init
}
