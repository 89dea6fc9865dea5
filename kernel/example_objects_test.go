package kernel_test

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// Loops over many objects look members up once, and read each object's bytes by their
// places.
func ExampleKernel_Resolve() {
	k := kerneltest.ExampleKernel() // as Open does
	var layout struct {
		kernel.Layout `kernel:"struct task_struct"`
		PID           kernel.I32   `kernel:"pid"`
		Comm          kernel.Bytes `kernel:"comm"`
		State         kernel.U32   `kernel:"__state|state"`          // renamed in 5.14
		BlockedOn     kernel.U64   `kernel:"no_such_thing,optional"` // of releases to come
	}
	if err := k.Resolve(&layout); err != nil {
		panic(err)
	}
	task, err := k.Symbol("init_task")
	if err != nil {
		panic(err)
	}
	b, err := k.Peek(task, make([]byte, layout.Span()))
	if err != nil {
		panic(err)
	}
	fmt.Println(layout.PID.Get(b), cstr.ShowC(layout.Comm.Get(b)), layout.State.Path(), layout.BlockedOn.Has())
	// Output: 0 swapper/0 __state false
}

// An Object carries the first error to the place where its value is asked for.
func ExampleObject() {
	k := kerneltest.ExampleKernel() // as Open does
	task := k.Object("init_task")
	comm, err := task.Field("parent").Field("comm").Text() // through a pointer
	fmt.Println(comm, err)
	letter, err := task.Field("comm").Index(0).Uint()
	fmt.Printf("%c %v\n", letter, err)
	_, err = task.Field("nothing").Field("of").Index(3).Uint()
	fmt.Println(err != nil)
	// Output:
	// swapper/0 <nil>
	// s <nil>
	// true
}

func ExampleMemory_CString() {
	k := kerneltest.ExampleKernel() // as Open does
	at, err := k.Symbol("linux_banner")
	if err != nil {
		panic(err)
	}
	banner, err := k.CString(at, 28)
	fmt.Println(cstr.Show(banner), err)
	// Output: Linux version 6.1.192-mortem <nil>
}

// Where an address leads nowhere, the error says which and why.
func ExampleMemory_Uint64() {
	k := kerneltest.ExampleKernel() // as Open does
	_, err := k.Uint64(0xffffffff00000000)
	var read *kernel.ReadError
	fmt.Println(errors.As(err, &read))
	fmt.Printf("%#x\n", read.Addr)
	// Output:
	// true
	// 0xffffffff00000000
}

// Which CPU's copy?
func ExampleKernel_PerCPU() {
	k := kerneltest.ExampleKernel() // as Open does
	variable, err := k.Symbol("cpu_number")
	if err != nil {
		panic(err)
	}
	for _, cpu := range []uint64{0, 3, 4} {
		at, err := k.PerCPU(variable, cpu)
		if err != nil {
			fmt.Println("there is no CPU", cpu)
			continue
		}
		n, err := k.Uint32(at)
		fmt.Println(n, err)
	}
	// Output:
	// 0 <nil>
	// 3 <nil>
	// there is no CPU 4
}

// A walk counts what it reads and what it cannot: its figures are lower bounds then.
func ExampleKernel_NewCoverage() {
	k := kerneltest.ExampleKernel() // as Open does
	cover := k.NewCoverage()
	for _, at := range []uint64{k.Object("init_task").Addr(), 0xffffffff00000000} {
		if _, err := k.Uint64(at); err != nil {
			cover.Fail(err)
		} else {
			cover.Read++
		}
	}
	fmt.Println(cover.Read, cover.Unread(), cover.Complete())
	// Output: 1 1 false
}
