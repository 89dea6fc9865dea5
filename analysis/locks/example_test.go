package locks_test

import (
	"context"
	"fmt"

	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
)

// The graph alone, for those who make something else of it than a report.
func ExampleSnapshot() {
	fs := kerneltest.ExampleFS() // as vfs.Open does
	unwinder, err := stacks.Open(fs.Kernel())
	if err != nil {
		panic(err)
	}
	s, err := locks.Snapshot(context.Background(), fs, unwinder, lock.Options{NoSuspects: true})
	if err != nil {
		panic(err)
	}
	for _, h := range s.Holds {
		if l := &s.Locks[h.Lock]; l.Symbol == "rtnl_mutex" {
			fmt.Println(s.Tasks[h.Task].Comm, "holds it,", l.Queue, "wait")
		}
	}
	// Output: mp/rtnl.hold holds it, 2 wait
}

func ExampleName() {
	fmt.Println(locks.Name(&lock.Lock{Kind: lock.Mutex, Symbol: "rtnl_mutex"}))
	fmt.Println(locks.Name(&lock.Lock{Kind: lock.RWSem, Object: &lock.Object{
		Type: "struct mm_struct", Member: "mmap_lock", PID: 256, Comm: "mmaphog",
	}}))
	fmt.Println(locks.Name(&lock.Lock{Kind: lock.Spinlock, Addr: 0xffff888004a51200}))
	// Output:
	// rtnl_mutex
	// mmap_lock of process 256 mmaphog
	// 0xffff888004a51200
}

func ExampleTaskName() {
	fmt.Println(locks.TaskName(&lock.Task{PID: 348, Comm: "kswapd0"}))
	fmt.Println(locks.TaskName(&lock.Task{Addr: 0xffff888004a51200, Gone: "it was freed"}))
	// Output:
	// 348 "kswapd0"
	// a task that is gone (task_struct 0xffff888004a51200)
}

// How sure is it that a task holds a spinlock, which has no owner?
func ExampleHoldText() {
	fmt.Println(locks.HoldText(&lock.Hold{Method: lock.ByOwner, Sure: lock.Certain}))
	fmt.Println(locks.HoldText(&lock.Hold{Method: lock.ByCode, Sure: lock.Suspected, Evidence: []lock.Evidence{
		{CallName: "__shrink_dcache_sb+0x1f/0x60", Called: "_spin_lock"},
	}}))
	// Output:
	// by owner
	// by code, suspected: taken at __shrink_dcache_sb+0x1f/0x60 by _spin_lock
}

// The functions that a sleeping task is in anyway.
func ExampleScheduler() {
	for _, name := range []string{"__schedule", "schedule", "io_schedule"} {
		fmt.Println(name, locks.Scheduler(name))
	}
	// Output:
	// __schedule true
	// schedule true
	// io_schedule false
}
