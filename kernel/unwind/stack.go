package unwind

import (
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/task"
)

// Stack is the memory of one kernel stack, [Start, End) in virtual addresses.
type Stack struct {
	// Name is "task", "IRQ", or on x86-64 "entry" or the exception's: "NMI",
	// "#DF", "#DB", "#MC", …
	Name       string
	CPU        int // the processor it belongs to, -1 for a task's
	Start, End uint64
}

func (s *Stack) holds(addr, size uint64) bool {
	return addr >= s.Start && addr < s.End && size <= s.End-addr
}

// pageSize is the size of the pieces in which memory of stacks is read, in bytes:
// that of the smallest page there is.
const pageSize = 4096

// threadSize is THREAD_SIZE, the size of a task's stack: of union thread_union,
// or of the first task's, or else what is usual.
func threadSize(k *kernel.Kernel, usual uint64) uint64 {
	if t, err := k.Type("union thread_union"); err == nil && saneStack(uint64(t.Size())) {
		return uint64(t.Size())
	}
	for _, pair := range [][2]string{{"__start_init_stack", "__end_init_stack"}, {"__start_init_task", "__end_init_task"}} {
		start, err1 := k.Symbol(pair[0])
		end, err2 := k.Symbol(pair[1])
		if err1 == nil && err2 == nil && saneStack(end-start) {
			return end - start
		}
	}
	return usual
}

func saneStack(size uint64) bool {
	return size >= pageSize && size <= maxStack && size&(size-1) == 0
}

// maxStack is more than any kernel stack has, in bytes.
const maxStack = 1 << 20

// cpuStacks are the stacks of a processor besides those of tasks.
func (t *Tracer) cpuStacks(cpu int) []Stack {
	t.mu.Lock()
	defer t.mu.Unlock()
	if list, ok := t.stacks[cpu]; ok {
		return list
	}
	list := t.machine.stacks(t, cpu)
	t.stacks[cpu] = list
	return list
}

// perCPUWord reads a CPU's copy of the first per-CPU variable of those names
// that the kernel has, 0 where it has none. A name with a dot is a member of a
// per-CPU structure.
func (t *Tracer) perCPUWord(cpu int, names ...string) uint64 {
	for _, name := range names {
		variable, path, member := strings.Cut(name, ".")
		addr, err := t.k.Symbol(variable)
		if err != nil {
			continue
		}
		if member {
			typ, err := t.k.Info().Variable(variable)
			if err != nil {
				continue
			}
			f, err := typ.Field(path)
			if err != nil {
				continue
			}
			addr += uint64(f.Offset)
		}
		at, err := t.k.PerCPU(addr, uint64(cpu))
		if err != nil {
			continue
		}
		if value, err := t.k.Uint64(at); err == nil {
			return value
		}
	}
	return 0
}

// stackEndMark is STACK_END_MAGIC (include/uapi/linux/magic.h), which has been at the far
// end of each task's stack since 2.6.28, but for the first task's until 3.17.
const stackEndMark = 0x57ac6e9d

// Overflowed tells whether a task's stack was once used up: the mark at its far end has
// been written over. found is what lies there. Where it is 0, the mark was not made.
// The error is a *kernel.ReadError where the mark cannot be read.
func (t *Tracer) Overflowed(tk *task.Task) (overflowed bool, found uint64, err error) {
	if tk.Stack == 0 {
		return false, 0, nil
	}
	found, err = t.k.Uint64(tk.Stack + t.belowStack)
	return err == nil && found != stackEndMark && found != 0, found, err
}

// belowStack is the size in bytes of what lies at the base of stacks: struct thread_info,
// unless it is in the task (since 4.9 on x86-64, 4.10 on arm64).
func belowStack(k *kernel.Kernel) uint64 {
	tk, err := k.Type("struct task_struct")
	if err != nil {
		return 0
	}
	info, err := k.Type("struct thread_info")
	if _, in := tk.Field("thread_info"); err != nil || in == nil {
		return 0
	}
	return uint64(info.Size())
}
