package slab_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
)

// Which slab object the structure of the first task but init_task is.
func Example() {
	k := kerneltest.ExampleKernel()
	pages, err := page.Open(k)
	if err != nil {
		panic(err)
	}
	slabs, err := slab.Open(k, pages)
	if err != nil {
		panic(err)
	}
	list, err := k.Object("init_task").Field("tasks.next").Uint()
	if err != nil {
		panic(err)
	}
	o, ok, err := slabs.ObjectAt(list)
	if err != nil {
		panic(err)
	}
	fmt.Println(ok, o.Slab.Cache.Name, "free:", o.Free)
	// Output: true task_struct free: false
}
