package unwind

import (
	"errors"
	"fmt"
	"sync"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/archs"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
)

// Tracer unwinds the stacks of one kernel. It is safe for use by many
// goroutines.
type Tracer struct {
	k       *kernel.Kernel
	mem     reader                                     // of stacks and code: k
	runtime func(f *Frame, link uint64) (uint64, bool) // address of what the debug information of a frame's code has
	modules *module.Table                              // nil where modules cannot be read
	text    *text
	size    uint64 // of a task's stack in bytes
	// belowStack is where the mark at its far end is, in bytes from its base.
	belowStack uint64
	arch       arch.Arch
	reg        *arch.RegisterFile
	machine    machine
	hooks      hooks

	codes   cache[codeFrame]
	cfiOnce sync.Once
	cfiData *cfi
	cfiErr  error

	probeOnce sync.Once
	probesOf  map[uint64][]uint64 // see oldProbes

	mu        sync.Mutex
	stacks    map[int][]Stack           // by CPU
	moduleCFI map[debuginfo.Source]*cfi // nil for modules that have none
}

// ErrArch: stacks of the dump's architecture cannot be unwound.
var ErrArch = archs.ErrUnknown

// New reads what unwinding needs of a kernel. Modules may be nil where they
// cannot be read; their functions' callers are then found by a search only. The
// error wraps ErrArch for other architectures, and kernel.ErrNotFound where it
// is not known where the kernel's code lies.
func New(k *kernel.Kernel, modules *module.Table) (*Tracer, error) {
	a, err := archs.Of(k.Image().Facts().Arch)
	if err != nil {
		return nil, err
	}
	t := &Tracer{k: k, mem: k, modules: modules, text: newText(k, modules), stacks: map[int][]Stack{}, moduleCFI: map[debuginfo.Source]*cfi{}}
	t.runtime = t.runtimeOf
	t.arch, t.reg = a, a.Registers()
	if len(t.text.image) == 0 {
		return nil, fmt.Errorf("symbols _stext and _etext: %w", kernel.ErrNotFound)
	}
	if t.machine, err = newMachine(t); err != nil {
		return nil, err
	}
	t.size, t.belowStack = threadSize(k, t.machine.threadSize()), belowStack(k)
	t.hooks.find(k)
	return t, nil
}

// Methods are those that the kernel and its debug information offer, the best
// first.
func (t *Tracer) Methods() []Method {
	var list []Method
	if t.machine.tables() != nil {
		list = append(list, ByORC)
	}
	if _, err := frameSection(t.k.Info()); err == nil {
		list = append(list, ByCFI)
	}
	return append(list, ByCode, ByFrame, ByScan)
}

// StackSize is the size of a task's kernel stack in bytes.
func (t *Tracer) StackSize() uint64 { return t.size }

// RegisterFile are the registers that traces have, by name and number.
func (t *Tracer) RegisterFile() *arch.RegisterFile { return t.reg }

// IsText tells whether code of the kernel image or of a module lies at a
// virtual address.
func (t *Tracer) IsText(addr uint64) bool { return t.text.holds(addr) }

// Options change how a stack is walked.
type Options struct {
	// Limit is the highest number of frames, 0 for 512.
	Limit int
	// Registers finds, by DWARF CFI where there is some, the registers that
	// functions save for their callers. It takes longer.
	Registers bool
	// Scan finds frames by nothing but a search for return addresses.
	Scan bool
	// Frames is room for the frames, so that many stacks can be walked
	// without allocating: its contents are overwritten.
	Frames []Frame
}

const defaultLimit = 512

// Sleeping walks the stack of a task that does not run, from where it was
// switched out.
func (t *Tracer) Sleeping(tk *task.Task, opt Options) Trace {
	w := walker.Get().(*walk)
	defer walker.Put(w)
	w.begin(t, tk, -1, opt)
	s, err := t.sleeping(w, tk)
	if err == errGone {
		return Trace{End: EndGone, Frames: opt.Frames[:0]}
	}
	if err != nil {
		return Trace{End: EndBroken, Err: err, Frames: opt.Frames[:0]}
	}
	return w.run(s)
}

// Running walks from the registers that a processor had. The task is the one that
// ran on it, nil if that is not known.
func (t *Tracer) Running(tk *task.Task, cpu int, regs arch.Registers, opt Options) Trace {
	w := walker.Get().(*walk)
	defer walker.Put(w)
	w.begin(t, tk, cpu, opt)
	return w.run(t.fromRegisters(regs))
}

// errGone: the stack of a task that has exited was freed (since 4.9).
var errGone = errors.New("its stack is freed")

// sleeping is where a task that does not run goes on.
func (t *Tracer) sleeping(w *walk, tk *task.Task) (state, error) {
	if tk.Stack == 0 {
		return state{}, errGone
	}
	if tk.SP == 0 {
		return state{}, fmt.Errorf("task %d: its stack pointer is not known", tk.PID)
	}
	if w.own.End == 0 || !w.own.holds(tk.SP, 8) {
		return state{}, fmt.Errorf("task %d: its stack pointer %#x is not on its stack at %#x", tk.PID, tk.SP, w.own.Start)
	}
	return t.machine.sleeping(w, tk)
}

var walker = sync.Pool{New: func() any { return new(walk) }}
