package slab_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/kmortem/mortem/analysis/slab"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
	kslab "github.com/kmortem/mortem/kernel/slab"
)

// cache finds a cache, with the allocations that it is one of.
func cache(name string) (*kslab.Allocations, *kslab.Cache) {
	k := kerneltest.ExampleKernel()
	if _, err := module.Attach(k); err != nil { // names functions of modules
		panic(err)
	}
	s, err := slab.Open(k)
	if err != nil {
		panic(err)
	}
	c, err := slab.Find(s, name)
	if err != nil {
		panic(err)
	}
	return s, c
}

// Of 3000 objects, the guest had freed two of each three.
func ExampleListObjects() {
	s, c := cache("mortem_partial") // by slab.Open and slab.Find
	for _, opt := range []slab.ObjectOptions{{}, {Free: true}, {Limit: 10}} {
		list, err := slab.ListObjects(context.Background(), s, c, opt)
		if err != nil {
			panic(err)
		}
		fmt.Println(len(list.Objects), "and more:", list.More)
	}
	// Output:
	// 1000 and more: false
	// 2000 and more: false
	// 10 and more: true
}

// Who took the objects that are live? The guest booted with slub_debug=U for this cache.
func ExampleTracks() {
	s, c := cache("mortem_tracked") // by slab.Open and slab.Find
	r, err := slab.Tracks(context.Background(), s, c)
	if err != nil {
		panic(err)
	}
	for _, site := range r.Allocs {
		end := strings.IndexAny(site.Function, ".+") // of the name in the source
		fmt.Println(site.Count, "by", site.Tasks[0].Comm, "in", site.Function[:end])
	}
	// Output:
	// 400 by init in mp_site_one
	// 100 by init in mp_site_two
}

// What the log says of a cache whose trace file was set.
func ExampleReadTrace() {
	log := `TRACE dentry alloc 0xffff88001ac16240 inuse=21 fp=0x(null)
CPU: 3 PID: 605 Comm: systemd-journal Not tainted 3.10.0-123.el7.x86_64 #1
Call Trace:
 [<ffffffff811af2e6>] d_alloc+0x26/0x70
 [<ffffffff811a18fb>] lookup_dcache+0x8b/0xb0
TRACE dentry free 0xffff88001ac16240 inuse=7 fp=0xffff88001ac16240
CPU: 3 PID: 605 Comm: systemd-journal Not tainted 3.10.0-123.el7.x86_64 #1
Call Trace:
 [<ffffffff811abd65>] __d_free+0x45/0x50
`
	r := slab.ReadTrace(strings.SplitSeq(log, "\n")) // of printk.Record.Lines
	for _, c := range r.Caches {
		fmt.Println(c.Cache, c.Allocs, "taken,", c.Paired, "of them freed again")
		for _, s := range c.Sites {
			fmt.Println(s.Event, s.Comm, s.Stack)
		}
	}
	// Output:
	// dentry 1 taken, 1 of them freed again
	// alloc systemd-journal [d_alloc lookup_dcache]
	// free systemd-journal [__d_free]
}

// Caches come in the order that Options.Sort names.
func ExampleSorts() {
	fmt.Println(strings.Join(slab.Sorts(), " "))
	// Output: memory live objects free slabs size name
}
