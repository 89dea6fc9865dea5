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
