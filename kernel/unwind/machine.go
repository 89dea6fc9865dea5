package unwind

import (
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/task"
)

// machine is what stacks of the kernel have of their own on an architecture.
// Each architecture is a file.
type machine interface {
	// sleeping is where a task that does not run goes on. Its stack pointer
	// has been found to be on its stack.
	sleeping(w *walk, tk *task.Task) (state, error)
	// stacks are those of a processor besides the tasks'.
	stacks(t *Tracer, cpu int) []Stack
	// threadSize is the usual size of a task's stack in bytes.
	threadSize() uint64

	// tables is the unwinder by the kernel's own unwind tables, nil where it
	// has none.
	tables() unwinder
	// entries is the one for entry code, where stacks end and exceptions leave
	// registers; nil where the tables describe it.
	entries() unwinder
	// frames is the one by frame pointers, nil where the function has none.
	// It is one of the kernel's and its modules', or else not known.
	frames(s *state, known bool) unwinder
	// framesFirst tells whether frame pointers are better than what a
	// function's instructions say.
	framesFirst(s *state) bool

	// switched finds out where the task that the stack belongs to goes on, for a
	// processor in the code that changes stacks: its registers can be of two
	// tasks there. It fails everywhere else.
	switched(w *walk, s *state) (state, bool)
	// restored is the frame pointer of a caller, by its program counter and stack
	// pointer, where code that changes stacks keeps it in its own way.
	restored(w *walk, pc, sp uint64) (fp uint64, ok bool)

	// saved tells whether registers that lie at an address of a stack can be those
	// that entry code saved there. They have been found to be sane.
	saved(w *walk, st *Stack, addr uint64, r *arch.Registers) bool

	// replaced tells whether a return address is the one that a tracer names by
	// a key.
	replaced(at returnPlace, key uint64) bool
	// returned is the state of the caller that a function has returned to, but
	// for the trampoline that runs. Its pc is that of the trampoline.
	returned(w *walk, s *state) (state, bool)
	// graphPlace is the member of struct ftrace_ret_stack with that key, none
	// where the kernel has to count.
	graphPlace(e *graphEntry) kernel.U64

	// mayHold tells whether an address can be code that was made at run time,
	// outside of the kernel image and of modules.
	mayHold(addr uint64) bool
	// owns tells whether a note's registers say that the processor has its
	// per-CPU area at an address.
	owns(note *dump.CPU, area uint64) bool
}

var machines = map[dump.Arch]func(*Tracer) machine{
	dump.ArchX86_64: newAMD64,
	dump.ArchARM64:  newARM64,
}

func newMachine(t *Tracer) (machine, error) {
	a := t.k.Image().Facts().Arch
	make, ok := machines[a]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrArch, a)
	}
	return make(t), nil
}
