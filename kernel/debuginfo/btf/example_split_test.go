package btf_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo/btf"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
)

// between reads what lies between two symbols of a kernel.
func between(k *kernel.Kernel, start, stop string) ([]byte, error) {
	from, err := k.Symbol(start)
	if err != nil {
		return nil, err
	}
	to, err := k.Symbol(stop)
	if err != nil {
		return nil, err
	}
	data := make([]byte, to-from)
	_, err = k.Read(data, from)
	return data, err
}

// The types of a module in a dump, on top of those of its kernel.
func ExampleParseSplit() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	raw, err := between(k, "__start_BTF", "__stop_BTF")
	if err != nil {
		panic(err)
	}
	base, err := btf.Parse(raw)
	if err != nil {
		panic(err)
	}
	modules, err := module.New(k)
	if err != nil {
		panic(err)
	}
	for m, err := range modules.All() {
		if err != nil || m.Name != "mortem_plant" {
			continue
		}
		split, err := modules.BTF(m)
		if err != nil {
			panic(err)
		}
		types, err := btf.ParseSplit(split, base)
		if err != nil {
			panic(err)
		}
		for _, member := range types.Type(ctype.Struct, "mp_widget").Members() {
			fmt.Println(member.Type.Declare(member.Name))
		}
	}
	// Output:
	// u64 magic
	// char name[24]
	// struct list_head siblings
	// struct mutex lock
	// struct rw_semaphore rwsem
	// u32 serial
}
