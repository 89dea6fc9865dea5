package variable_test

import (
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/variable"
)

func ExampleName() {
	k := kerneltest.ExampleKernel()
	at, err := k.Symbol("init_task")
	if err != nil {
		fmt.Println(err)
		return
	}
	comm, err := k.Info().Variable("init_task")
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := comm.Field("comm")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(variable.Name(k, at+uint64(m.Offset)))
	// Output: init_task.comm[0]
}

func ExamplePerCPUAt() {
	k := kerneltest.ExampleKernel()
	runqueues, err := k.Symbol("runqueues")
	if err != nil {
		fmt.Println(err)
		return
	}
	at, err := k.PerCPU(runqueues, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, ok := variable.PerCPUAt(k, at+8)
	fmt.Println(v.Name, v.CPU, v.Offset, ok)
	// Output: runqueues 2 8 true
}

// What does the pointer point to that some memory was found in?
func ExampleType() {
	k := kerneltest.ExampleKernel()
	at, err := k.Symbol("dentry_cache")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(variable.Type(k, at))
	// Output: struct kmem_cache *
}

// Which variables point to the slab cache of dentries?
func ExampleScan() {
	k := kerneltest.ExampleKernel()
	target, err := k.Object("dentry_cache").Uint()
	if err != nil {
		fmt.Println(err)
		return
	}
	variable.Scan(k, func(mem []byte, at uint64) {
		for i := 0; i+8 <= len(mem); i += 8 {
			if binary.LittleEndian.Uint64(mem[i:]) == target {
				fmt.Println(variable.Name(k, at+uint64(i)))
			}
		}
	})
	// Output: dentry_cache
}
