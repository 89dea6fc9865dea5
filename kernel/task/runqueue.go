package task

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/kernel"
)

// rqLayout is struct rq (kernel/sched/sched.h).
type rqLayout struct {
	kernel.Layout `kernel:"struct rq"`
	Current       kernel.U64 `kernel:"curr"`
	Idle          kernel.U64 `kernel:"idle"`
}

// CPU is who runs on a processor, by its run queue, struct rq
// (kernel/sched/sched.h, kernel/sched.c before 3.3).
type CPU struct {
	Number  int
	Current uint64 // virtual address of the task_struct that runs
	Idle    uint64 // of the idle task
}

// CPUs reads the run queues of the processors that are online, in order. What
// could be read comes with the first error.
func (r *Reader) CPUs() ([]CPU, error) {
	var l rqLayout
	if err := r.k.Resolve(&l); err != nil {
		return nil, err
	}
	variable, err := r.k.Symbol("runqueues")
	if err != nil {
		if variable, err = r.k.Symbol("per_cpu__runqueues"); err != nil { // until 2.6.32
			return nil, err
		}
	}
	online, err := r.online()
	if err != nil {
		return nil, err
	}
	var list []CPU
	var first error
	buf := make([]byte, l.Span())
	for _, cpu := range online {
		at, err := r.k.PerCPU(variable, uint64(cpu))
		var b []byte
		if err == nil {
			b, err = r.k.Peek(at, buf)
		}
		if err != nil {
			if first == nil {
				first = fmt.Errorf("run queue of CPU %d: %w", cpu, err)
			}
			continue
		}
		list = append(list, CPU{Number: cpu, Current: l.Current.Get(b), Idle: l.Idle.Get(b)})
	}
	return list, first
}

// maxOnline is the highest CONFIG_NR_CPUS that x86-64 allows.
const maxOnline = 8192

// online are the numbers of the processors that are online: a bitmap, named
// cpu_online_bits until 4.4.
func (r *Reader) online() ([]int, error) {
	var mask uint64
	var err error
	for _, name := range []string{"__cpu_online_mask", "cpu_online_bits"} {
		if mask, err = r.k.Symbol(name); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	count := uint32(64)
	if addr, err := r.k.Symbol("nr_cpu_ids"); err == nil {
		if n, err := r.k.Uint32(addr); err == nil && n > 0 {
			count = min(n, maxOnline)
		}
	}
	words := make([]byte, (count+63)/64*8)
	if _, err := r.k.Read(words, mask); err != nil {
		return nil, fmt.Errorf("mask of processors: %w", err)
	}
	var list []int
	for i := range int(count) {
		if binary.LittleEndian.Uint64(words[i/64*8:])>>(i%64)&1 != 0 {
			list = append(list, i)
		}
	}
	return slices.Clip(list), nil
}

// panicVariables have the number of the processor that panicked, and -1 before:
// crashing_cpu of x86, when a second kernel was started, and panic_cpu since 4.5.
var panicVariables = []string{"crashing_cpu", "panic_cpu"}

// PanicCPU is the processor that panicked, and the variable that says so, empty where
// none did. The error is of one that could not be read.
func (r *Reader) PanicCPU() (cpu int, variable string, err error) {
	for _, name := range panicVariables {
		at, missing := r.k.Symbol(name)
		if missing != nil {
			continue
		}
		n, failed := r.k.Uint32(at)
		switch {
		case failed != nil:
			err = fmt.Errorf("%s: %w", name, failed)
		case int32(n) >= 0:
			return int(n), name, nil
		}
	}
	return 0, "", err
}
