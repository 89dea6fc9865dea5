package task_test

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
)

// process1 is the details of the first process, as More reads them.
func process1() (*task.Details, *task.Task, *task.More) {
	tasks := kerneltest.ExampleTasks() // as New does
	fs, err := vfs.Open(tasks.Kernel())
	if err != nil {
		panic(err)
	}
	details, err := task.NewDetails(tasks, fs)
	if err != nil {
		panic(err)
	}
	for t, err := range tasks.All() {
		if err == nil && t.PID == 1 {
			more, err := details.More(t)
			if err != nil {
				panic(err)
			}
			return details, t, more
		}
	}
	panic("no process 1")
}

// What a process was started with stands in its own memory, which most dumps leave out.
func ExampleDetails_CommandLine() {
	details, _, more := process1()
	mm, err := details.Memory(more.MM)
	if err != nil {
		panic(err)
	}
	args, err := details.CommandLine(mm)
	fmt.Println(args, "filtered out:", errors.Is(err, dump.ErrExcluded))
	// Output: [] filtered out: true
}

func ExampleDetails_Directories() {
	details, _, more := process1()
	root, cwd, err := details.Directories(more)
	fmt.Println(root, cwd, err)
	// Output: / / <nil>
}

func ExampleDetails_Credentials() {
	details, _, more := process1()
	c, err := details.Credentials(more)
	if err != nil {
		panic(err)
	}
	fmt.Println("user", c.UID, "group", c.GID)
	// Output: user 0 group 0
}

// The run queues of the processors that were online.
func ExampleReader_CPUs() {
	tasks := kerneltest.ExampleTasks() // as New does
	cpus, err := tasks.CPUs()
	if err != nil {
		panic(err)
	}
	for _, c := range cpus {
		idle, err := tasks.At(c.Idle)
		fmt.Println(c.Number, idle.Comm, err)
	}
	// Output:
	// 0 swapper/0 <nil>
	// 1 swapper/1 <nil>
	// 2 swapper/2 <nil>
	// 3 swapper/3 <nil>
}

// Tasks by name or number, and what of it is in no dump.
func ExampleSought() {
	sought := task.Sought{Comms: []string{"mp/mutex.*"}, PIDs: []int32{4711}}
	n := 0
	for t, err := range kerneltest.ExampleTasks().All() {
		if err == nil && sought.Has(t) {
			n++
		}
	}
	fmt.Println(n > 0, len(sought.Missing()))
	// Output: true 1
}
