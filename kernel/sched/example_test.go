package sched_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/sched"
)

func ExampleReader_Groups() {
	tasks := kerneltest.ExampleTasks() // as task.New does
	r, err := sched.New(tasks)
	if err != nil {
		fmt.Println(err)
		return
	}
	for g, err := range r.Groups() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%d µs in each %d ms\n", g.Quota/1e3, g.Period/1e6)
	}
	// Output: 1000 µs in each 1000 ms
}
