// Package sched answers what each processor had to do: its run queue with the
// tasks on it, and the groups of tasks that CFS bandwidth control holds back
// (kernel/sched/sched.h).
package sched

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/task"
)

// rqLayout is struct rq. clock_task, without the time of interrupts, is there since
// 2.6.37; the deadline queue since 3.14.
type rqLayout struct {
	kernel.Layout   `kernel:"struct rq"`
	Running         kernel.Uint   `kernel:"nr_running"`
	Switches        kernel.U64    `kernel:"nr_switches,optional"`
	Uninterruptible kernel.Uint   `kernel:"nr_uninterruptible,optional"`
	Current         kernel.U64    `kernel:"curr"`
	Idle            kernel.U64    `kernel:"idle"`
	Stop            kernel.U64    `kernel:"stop,optional"`
	Clock           kernel.U64    `kernel:"clock,optional"`
	ClockTask       kernel.U64    `kernel:"clock_task,optional"`
	IOWait          kernel.I32    `kernel:"nr_iowait.counter,optional"`
	Fair            kernel.Offset `kernel:"cfs"`
	RealTime        kernel.Offset `kernel:"rt"`
	Deadline        kernel.Offset `kernel:"dl,optional"`
}

// entityLayout is how the scheduler's entities lie in a task_struct.
type entityLayout struct {
	kernel.Layout `kernel:"struct task_struct"`
	Fair          kernel.Offset `kernel:"se"`
	RealTime      kernel.Offset `kernel:"rt"`
	Deadline      kernel.Offset `kernel:"dl,optional"`
	Throttle      kernel.Offset `kernel:"throttle_node,optional"` // since 6.18
	OnRQ          kernel.Uint   `kernel:"on_rq|se.on_rq,optional"`
}

// Reader knows the layouts of the scheduler.
type Reader struct {
	k      *kernel.Kernel
	cpus   []task.CPU
	queues uint64 // the per-CPU variable runqueues

	rq     rqLayout
	entity entityLayout
	node   nodeLayout
	fair   fairLayouts
	rt     rtLayouts
	dl     dlLayouts
	group  groupLayouts
}

// New resolves the layouts, and finds the processors that were online. It fails
// where run queues cannot be read at all; the error of one processor comes from
// Queues.
func New(tasks *task.Reader) (*Reader, error) {
	r := &Reader{k: tasks.Kernel()}
	var err error
	if r.cpus, err = tasks.CPUs(); err != nil && len(r.cpus) == 0 {
		return nil, err
	}
	if r.queues, err = r.k.Symbol("runqueues"); err != nil {
		if r.queues, err = r.k.Symbol("per_cpu__runqueues"); err != nil { // until 2.6.32
			return nil, err
		}
	}
	for _, l := range []any{&r.rq, &r.entity, &r.node} {
		if err := r.k.Resolve(l); err != nil {
			return nil, fmt.Errorf("run queues: %w", err)
		}
	}
	for _, resolve := range []func() error{r.resolveFair, r.resolveRT, r.resolveDL} {
		if err := resolve(); err != nil {
			return nil, fmt.Errorf("run queues: %w", err)
		}
	}
	r.resolveGroups()
	return r, nil
}

// Entry is a task on a run queue.
type Entry struct {
	Task  uint64 // virtual address of the task_struct
	Group uint64 // of the task_group that it is queued in, 0 for the root's
	// Current: it was running, as the fair scheduler saw it.
	Current bool
	// Delayed: it fell asleep and stays queued until it has made up for the time
	// that it was ahead (since 6.12).
	Delayed  bool
	Vruntime uint64 // of a fair task, ns weighted by its share
	Prio     int    // of a real-time task: 0, the most urgent, to 98
	Deadline uint64 // of a deadline task; clock of the run queue, ns
}

// Queue is a processor's run queue: struct rq (kernel/sched/sched.h,
// kernel/sched.c before 3.3).
type Queue struct {
	CPU             int
	Addr            uint64 // virtual address of the struct rq
	Current         uint64 // of the task_struct that runs
	Idle            uint64 // of the idle task
	Stop            uint64 // of the stopper's task, which goes before all others
	Stopping        bool   // the stopper wants to run
	Running         uint64 // nr_running: how many tasks want the processor
	Switches        uint64 // since it was started
	Uninterruptible int64  // that fell asleep here less those that woke up here; a sum over all processors means something
	IOWait          int32  // tasks that wait for a block device
	// Clock is the queue's clock in ns, ClockTask the one that leaves out
	// interrupts and stolen time. They stand still while the processor idles.
	Clock, ClockTask uint64

	Fair     []Entry // in the order of their virtual run time, groups opened in their place
	RealTime []Entry // the most urgent first
	Deadline []Entry // the earliest first

	// RTThrottled: real-time tasks used up RTRuntime of the period, and must let
	// others run. ns.
	RTThrottled       bool
	RTTime, RTRuntime uint64
}

// Queues reads the run queues of the processors that are online. What could be read
// of them comes with the errors.
func (r *Reader) Queues() ([]Queue, []error) {
	var list []Queue
	var errs []error
	buf := make([]byte, r.rq.Span())
	for _, cpu := range r.cpus {
		at, err := r.k.PerCPU(r.queues, uint64(cpu.Number))
		var b []byte
		if err == nil {
			b, err = r.k.Peek(at, buf)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("run queue of CPU %d: %w", cpu.Number, err))
			continue
		}
		q := r.queue(cpu.Number, at, b)
		for _, err := range []error{r.stopTask(q), r.fairTasks(q), r.rtTasks(q), r.dlTasks(q)} {
			if err != nil {
				errs = append(errs, fmt.Errorf("run queue of CPU %d: %w", cpu.Number, err))
			}
		}
		list = append(list, *q)
	}
	return list, errs
}

// stopTask finds out whether the stopper, which is on no list, is to run.
func (r *Reader) stopTask(q *Queue) error {
	if q.Stop == 0 || !r.entity.OnRQ.Has() {
		return nil
	}
	b, err := r.k.Peek(q.Stop, make([]byte, r.entity.Span()))
	if err != nil {
		return fmt.Errorf("struct task_struct at %#x: %w", q.Stop, err)
	}
	q.Stopping = r.entity.OnRQ.Get(b) != 0
	return nil
}

func (r *Reader) queue(cpu int, at uint64, b []byte) *Queue {
	l := &r.rq
	q := &Queue{CPU: cpu, Addr: at, Current: l.Current.Get(b), Idle: l.Idle.Get(b), Running: l.Running.Get(b)}
	if l.Stop.Has() {
		q.Stop = l.Stop.Get(b)
	}
	if l.Switches.Has() {
		q.Switches = l.Switches.Get(b)
	}
	if l.Uninterruptible.Has() { // an unsigned long that goes below zero; an int since 6.13
		q.Uninterruptible = int64(l.Uninterruptible.Get(b))
		if q.Uninterruptible>>31 == 1 {
			q.Uninterruptible = int64(int32(q.Uninterruptible))
		}
	}
	if l.Clock.Has() {
		q.Clock = l.Clock.Get(b)
	}
	if q.ClockTask = q.Clock; l.ClockTask.Has() {
		q.ClockTask = l.ClockTask.Get(b)
	}
	if l.IOWait.Has() {
		q.IOWait = l.IOWait.Get(b)
	}
	return q
}
