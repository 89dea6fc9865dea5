package lock_test

import (
	"context"
	"fmt"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
	"github.com/kmortem/mortem/kernel/vfs"
)

// read opens what a Reader needs of the kernel in a dump.
func read() (*lock.Reader, error) {
	k := kerneltest.ExampleKernel()
	modules, err := module.Attach(k)
	if err != nil {
		return nil, err
	}
	tracer, err := unwind.New(k, modules)
	if err != nil {
		return nil, err
	}
	tasks, err := task.New(k)
	if err != nil {
		return nil, err
	}
	fs, err := vfs.Open(k)
	if err != nil {
		return nil, err
	}
	return lock.Open(k, tasks, tracer, fs)
}

func ExampleReader_Snapshot() {
	r, err := read()
	if err != nil {
		panic(err)
	}
	s, err := r.Snapshot(context.Background(), lock.Options{NoSuspects: true})
	if err != nil {
		panic(err)
	}
	for _, w := range s.Waits {
		l := &s.Locks[w.Lock]
		if l.Kind != lock.RWSem || l.Object == nil {
			continue
		}
		t := &s.Tasks[w.Task]
		fmt.Printf("%s waits to %s %s.%s of %s%s\n", t.Comm, w.Mode, l.Object.Type, l.Object.Member, l.Object.Path, l.Object.Comm)
	}
	// Output:
	// inode-wait waits to write struct inode.i_rwsem of /mnt/data/locked-file
	// mmap-fault waits to read struct mm_struct.mmap_lock of mmaphog
	// ps waits to read struct mm_struct.mmap_lock of mmaphog
}

func ExampleSnapshot_WaitOf() {
	r, err := read()
	if err != nil {
		panic(err)
	}
	s, err := r.Snapshot(context.Background(), lock.Options{})
	if err != nil {
		panic(err)
	}
	// Who holds the spinlock that processors spin for, and what does that task wait
	// for itself?
	for _, h := range s.Holds {
		if s.Locks[h.Lock].Kind != lock.Spinlock {
			continue
		}
		fmt.Printf("%s: %s %s: %s\n", s.Locks[h.Lock].Symbol, h.Sure, s.Tasks[h.Task].Comm, h.Evidence[0].CallName)
		fmt.Println("waits:", s.WaitOf(h.Task) != nil)
	}
	// Output:
	// mp_spin [mortem_plant]: suspected mp/spin.hold: mp_spin_hold+0x17/0x60 [mortem_plant]
	// waits: false
}

func ExampleOpen() {
	tasks := kerneltest.ExampleTasks() // as task.New does
	k := tasks.Kernel()
	modules, err := module.Attach(k)
	if err != nil {
		panic(err)
	}
	tracer, err := unwind.New(k, modules)
	if err != nil {
		panic(err)
	}
	r, err := lock.Open(k, tasks, tracer, nil) // nil: without paths of files
	if err != nil {
		panic(err)
	}
	s, err := r.Snapshot(context.Background(), lock.Options{NoSuspects: true})
	if err != nil {
		panic(err)
	}
	for _, l := range s.Locks {
		if l.Kind == lock.Semaphore {
			fmt.Printf("%s, %s, %d wait: %s\n", l.Symbol, l.State, l.Queue, l.NoHolder)
		}
	}
	// Output:
	// mp_sem [mortem_plant], count 0, 2 wait: its holders leave no trace in it
}
