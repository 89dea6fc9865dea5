package task_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
)

func ExampleReader_All() {
	tasks, err := task.New(kerneltest.ExampleKernel())
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

func ExampleDetails_Files() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	fs, err := vfs.Open(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	tasks, err := task.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	details, err := task.NewDetails(tasks, fs)
	if err != nil {
		fmt.Println(err)
		return
	}
	for t, err := range tasks.All() {
		if err != nil {
			fmt.Println(err)
			return
		}
		more, err := details.More(t)
		if err != nil {
			fmt.Println(err)
			return
		}
		files, err := details.Files(more)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, f := range files {
			fmt.Println(f.FD, f.Path, f.FlagNames()[0])
			break // the first of the first process
		}
		break
	}
	// Output: 0 /dev/ttyS0 RDWR
}

func ExampleReader_ByPID() {
	tasks := kerneltest.ExampleTasks() // as task.New does
	listed, numbered := 0, 0
	for range tasks.All() {
		listed++
	}
	for range tasks.ByPID() {
		numbered++
	}
	fmt.Println("both ways lead to as many threads:", listed == numbered)
	// Output: both ways lead to as many threads: true
}
