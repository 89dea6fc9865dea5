package unwind_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

func ExampleTracer_Sleeping() {
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
	tasks, err := task.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	for tk, err := range tasks.All() {
		if err != nil || tk.Comm != "mp/mutex.wait" {
			continue
		}
		trace := tracer.Sleeping(tk, unwind.Options{})
		for i := range trace.Frames {
			fn, _ := tracer.Function(&trace.Frames[i])
			fmt.Println(fn.Name)
		}
		fmt.Println(trace.End)
	}
	// Output:
	// __schedule
	// schedule
	// schedule_preempt_disabled
	// __mutex_lock.constprop.0
	// mp_mutex_wait
	// mp_thread
	// kthread
	// ret_from_fork
	// start of thread
}

func ExampleTracer_Exceptions() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	tracer, err := unwind.New(k, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	tasks, err := task.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	for tk, err := range tasks.All() {
		if err != nil || tk.Comm != "cg-frozen" {
			continue
		}
		found, err := tracer.Exceptions(tk, -1)
		if err != nil {
			fmt.Println(err)
		}
		for _, e := range found {
			pc, _ := e.Registers.Get(tracer.RegisterFile().PC)
			fmt.Printf("%s stack, %#x bytes below its end, of user mode: %v, in the program: %v\n", e.Stack.Name, e.Stack.End-e.Addr, e.User, pc>>63 == 0)
		}
	}
	// Output: task stack, 0xa8 bytes below its end, of user mode: true, in the program: true
}

// What ran on each processor, and by what its registers are known.
func ExampleTracer_CPUs() {
	tasks := kerneltest.ExampleTasks() // as task.New does
	tracer, err := unwind.New(tasks.Kernel(), nil)
	if err != nil {
		panic(err)
	}
	cpus, err := tracer.CPUs(tasks)
	if err != nil {
		panic(err)
	}
	for _, c := range cpus {
		fmt.Println(c.Number, c.Task != nil, c.Source)
	}
	// Output:
	// 0 true NT_PRSTATUS
	// 1 true NT_PRSTATUS
	// 2 true NT_PRSTATUS
	// 3 true NT_PRSTATUS
}
