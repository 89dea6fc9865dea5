// Package task reads the kernel's tasks: struct task_struct
// (include/linux/sched.h). Reader finds them and tells what they are and in which
// state; Details reads what hangs from them.
package task

import (
	"fmt"
	"iter"
	"sync"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/list"
)

// Reader knows the layout of the kernel's tasks.
type Reader struct {
	k      *kernel.Kernel
	task   taskLayout
	signal signalLayout
	proxy  proxyLayout
	info   infoLayout
	bits   *stateBits
	pids   func() (*pidReader, error) // resolved at their first use
}

// taskLayout is struct task_struct. What changed: the threads of a process
// hang from signal->thread_head by thread_node since 3.14 (and in RHEL 7), and
// thread_group was removed in 6.7.
type taskLayout struct {
	kernel.Layout `kernel:"struct task_struct"`
	Tasks         kernel.U64   `kernel:"tasks.next"`
	ThreadNode    kernel.U64   `kernel:"thread_node.next,optional"`
	ThreadGroup   kernel.U64   `kernel:"thread_group.next,optional"`
	PID           kernel.I32   `kernel:"pid"`
	TGID          kernel.I32   `kernel:"tgid"`
	Comm          kernel.Bytes `kernel:"comm"`
	Signal        kernel.U64   `kernel:"signal"`
	Nsproxy       kernel.U64   `kernel:"nsproxy"`
	State         kernel.Uint  `kernel:"__state|state,optional"` // renamed in 5.14
	ExitState     kernel.Uint  `kernel:"exit_state,optional"`
	Flags         kernel.U32   `kernel:"flags,optional"`
	Stack         kernel.U64   `kernel:"stack,optional"`
	SP            kernel.U64   `kernel:"thread.sp|thread.cpu_context.sp,optional"` // x86-64 and arm64
	OnCPU         kernel.Uint  `kernel:"on_cpu,optional"`
	CPU           kernel.U32   `kernel:"thread_info.cpu|cpu,optional"` // at the base of the stack before 4.9
}

// infoLayout is struct thread_info, which lay at the base of the stack before 4.9,
// and has had no CPU since.
type infoLayout struct {
	kernel.Layout `kernel:"struct thread_info"`
	Task          kernel.U64 `kernel:"task,optional"`
	CPU           kernel.U32 `kernel:"cpu,optional"`
}

type signalLayout struct {
	kernel.Layout `kernel:"struct signal_struct"`
	ThreadHead    kernel.U64 `kernel:"thread_head.next,optional"`
	Pending       kernel.U64 `kernel:"shared_pending.signal.sig[0],optional"`
}

type proxyLayout struct {
	kernel.Layout `kernel:"struct nsproxy"`
	Mount         kernel.U64 `kernel:"mnt_ns"`
	Net           kernel.U64 `kernel:"net_ns"`
}

// New resolves the layouts. They are those of struct task_struct and
// signal_struct (include/linux/sched.h, sched/signal.h since 4.11) and nsproxy.
// The error wraps kernel.ErrNotFound where the kernel lacks one of them or a
// member that all releases have.
func New(k *kernel.Kernel) (*Reader, error) {
	r := &Reader{k: k}
	for _, l := range []any{&r.task, &r.signal, &r.proxy} {
		if err := k.Resolve(l); err != nil {
			return nil, err
		}
	}
	if !r.byHead() && !r.task.ThreadGroup.Has() {
		return nil, fmt.Errorf("struct task_struct has neither thread_node nor thread_group: %w", kernel.ErrNotFound)
	}
	_ = k.Resolve(&r.info) // without it the processor of a task is not known
	r.bits = findStateBits(k)
	r.pids = sync.OnceValues(func() (*pidReader, error) { return newPIDReader(r) })
	return r, nil
}

// Kernel is the kernel that the tasks belong to.
func (r *Reader) Kernel() *kernel.Kernel { return r.k }

func (r *Reader) byHead() bool { return r.task.ThreadNode.Has() && r.signal.ThreadHead.Has() }

// Task is one thread: its struct task_struct (include/linux/sched.h). Addresses
// are kernel virtual ones.
type Task struct {
	Addr    uint64 // virtual address of the task_struct
	PID     int32  // thread id in the first pid namespace
	TGID    int32  // process id
	Comm    string // escaped
	Nsproxy uint64 // its namespaces; 0 once it exits

	State     uint64 // TASK_RUNNING and the like, see Letter
	ExitState uint64 // EXIT_ZOMBIE and the like
	Flags     uint32 // PF_KTHREAD and the like
	Stack     uint64 // virtual address where its kernel stack begins
	SP        uint64 // its stack pointer when it was last switched out
	OnCPU     bool   // it was running, as the scheduler saw it
	CPU       int    // where it is or last was, -1 where that is not in the task_struct

	signal uint64
	bits   *stateBits
}

// maxTasks is PID_MAX_LIMIT of 64-bit kernels.
const maxTasks = 4 << 20

func (r *Reader) read(addr uint64, buf []byte) (*Task, error) {
	b, err := r.k.Peek(addr, buf)
	if err != nil {
		return nil, fmt.Errorf("struct task_struct at %#x: %w", addr, err)
	}
	l := &r.task
	t := &Task{Addr: addr, PID: l.PID.Get(b), TGID: l.TGID.Get(b), Comm: cstr.ShowC(l.Comm.Get(b)),
		Nsproxy: l.Nsproxy.Get(b), OnCPU: l.OnCPU.Has() && l.OnCPU.Get(b) != 0, CPU: -1, signal: l.Signal.Get(b), bits: r.bits}
	if l.State.Has() {
		t.State = l.State.Get(b)
	}
	if l.ExitState.Has() {
		t.ExitState = l.ExitState.Get(b)
	}
	if l.Flags.Has() {
		t.Flags = l.Flags.Get(b)
	}
	if l.Stack.Has() {
		t.Stack = l.Stack.Get(b)
	}
	if l.SP.Has() {
		t.SP = l.SP.Get(b)
	}
	if l.CPU.Has() {
		t.CPU = int(l.CPU.Get(b))
	} else {
		t.CPU = r.oldCPU(t)
	}
	return t, nil
}

// oldCPU is the processor that the thread_info at the base of a task's stack names,
// -1 where there is none: it was written over, freed, or is not in the dump.
func (r *Reader) oldCPU(t *Task) int {
	l := &r.info
	if t.Stack == 0 || !l.Task.Has() || !l.CPU.Has() {
		return -1
	}
	if owner, err := r.k.Uint64(t.Stack + l.Task.Offset()); err != nil || owner != t.Addr {
		return -1
	}
	cpu, err := r.k.Uint32(t.Stack + l.CPU.Offset())
	if err != nil {
		return -1
	}
	return int(cpu)
}

// At reads the task_struct at a kernel virtual address. The error wraps a
// *kernel.ReadError where it cannot be read.
func (r *Reader) At(addr uint64) (*Task, error) { return r.read(addr, make([]byte, r.task.Span())) }

// All yields all threads of all processes, save the idle tasks, by the list
// that starts at init_task.
func (r *Reader) All() iter.Seq2[*Task, error] {
	return func(yield func(*Task, error) bool) {
		first, err := r.k.Symbol("init_task")
		if err != nil {
			yield(nil, err)
			return
		}
		buf := make([]byte, r.task.Span())
		for node, err := range list.Circular(r.k, first+r.task.Tasks.Offset(), maxTasks) {
			if err != nil {
				yield(nil, fmt.Errorf("task list: %w", err))
				return
			}
			leader, err := r.read(node-r.task.Tasks.Offset(), buf)
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			if !r.threads(leader, buf, yield) {
				return
			}
		}
	}
}

// threads yields the threads of a process, the leader first.
func (r *Reader) threads(leader *Task, buf []byte, yield func(*Task, error) bool) bool {
	if !yield(leader, nil) {
		return false
	}
	head, link := leader.Addr+r.task.ThreadGroup.Offset(), r.task.ThreadGroup.Offset()
	if r.byHead() {
		head, link = leader.signal+r.signal.ThreadHead.Offset(), r.task.ThreadNode.Offset()
	}
	for node, err := range list.Circular(r.k, head, maxTasks) {
		if err != nil {
			return yield(nil, fmt.Errorf("threads of process %d: %w", leader.PID, err))
		}
		if node-link == leader.Addr {
			continue
		}
		if !yield(r.read(node-link, buf)) {
			return false
		}
	}
	return true
}

// NetNamespace is the address of the struct net that the task is in, 0 for a
// task that has no namespaces any more. It is a kernel virtual address; the
// error is a *kernel.ReadError.
func (r *Reader) NetNamespace(t *Task) (uint64, error) {
	if t.Nsproxy == 0 {
		return 0, nil
	}
	return r.k.Uint64(t.Nsproxy + r.proxy.Net.Offset())
}
