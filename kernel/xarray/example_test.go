package xarray_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/xarray"
)

// The pids in use in the first pid namespace: its idr is an
// xarray from pid to struct pid.
func ExampleReader_Walk() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	arrays, err := xarray.New(k)
	if err != nil {
		fmt.Println(err)
		return
	}
	pids := k.Object("init_pid_ns").Field("idr.idr_rt")
	if pids.Err() != nil {
		fmt.Println(pids.Err())
		return
	}
	for e, err := range arrays.Walk(pids.Addr()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("the lowest pid is", e.Index)
		break
	}
	// Output: the lowest pid is 1
}
