package task_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
)

func ExampleReader_Find() {
	tasks, err := task.New(kerneltest.ExampleKernel())
	if err != nil {
		fmt.Println(err)
		return
	}
	list, whole := tasks.Find(func(err error) { fmt.Println("unread:", err) })
	fmt.Println(list[0].PID, list[0].Comm, whole)
	// Output: 1 init true
}
