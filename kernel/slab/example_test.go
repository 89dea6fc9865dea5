package slab_test

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/memcg"
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

// Which memory cgroup the dentry of a name is charged to that somebody in one looked up.
func ExampleAllocations_NewCharges() {
	fs := kerneltest.ExampleFS()
	k := fs.Kernel()
	pages, err := page.Open(k)
	if err != nil {
		panic(err)
	}
	slabs, err := slab.Open(k, pages)
	if err != nil {
		panic(err)
	}
	dentry, err := fs.Lookup("/mnt/etc/pki/nssdb/.016000_dOeSnotExist_.db", nil)
	if err != nil {
		panic(err)
	}
	o, _, err := slabs.ObjectAt(dentry.Addr)
	if err != nil {
		panic(err)
	}
	charges, err := slabs.NewCharges() // one for each goroutine
	if err != nil {
		panic(err)
	}
	charges.Load(&o.Slab)
	addr, ok := charges.Memcg(o.Index)
	groups, err := memcg.New(k)
	if err != nil {
		panic(err)
	}
	group, err := groups.At(addr)
	fmt.Println(group.Path, ok, err)
	// Output: /mortem/a true <nil>
}
