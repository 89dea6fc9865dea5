package unwind

import (
	"errors"
	"fmt"
	"sync"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
)

// Tracer unwinds the stacks of one kernel. It is safe for use by many
// goroutines.
type Tracer struct {
	k       *kernel.Kernel
	mem     reader // of stacks and code: k
	runtime func(link uint64) uint64
	modules *module.Table // nil where modules cannot be read
	text    *text
	size    uint64 // of a task's stack in bytes
	orc     *orc   // nil where the kernel has none
	frames  bool   // the kernel was built with frame pointers
	start   switchFrame
	entry   *entryCode
	hooks   hooks

	codes   cache[codeFrame]
	cfiOnce sync.Once
	cfiData *cfi
	cfiErr  error

	mu     sync.Mutex
	stacks map[int][]Stack // by CPU
}

// ErrArch: stacks of the dump's architecture cannot be unwound.
var ErrArch = errors.New("stacks of this architecture cannot be unwound")

// New reads what unwinding needs of a kernel. Modules may be nil where they
// cannot be read; their functions' callers are then found by a search only.
func New(k *kernel.Kernel, modules *module.Table) (*Tracer, error) {
	if a := k.Image().Facts().Arch; a != dump.ArchX86_64 {
		return nil, fmt.Errorf("%w: %s", ErrArch, a)
	}
	t := &Tracer{k: k, mem: k, runtime: k.Runtime, modules: modules, text: newText(k, modules), size: threadSize(k), stacks: map[int][]Stack{}}
	if len(t.text.image) == 0 {
		return nil, fmt.Errorf("symbols _stext and _etext: %w", kernel.ErrNotFound)
	}
	t.orc, _ = newORC(k, modules)
	t.frames = t.orc == nil
	t.start.find(k)
	t.entry = newEntryCode(k)
	t.hooks.find(k)
	return t, nil
}

// Methods are those that the kernel and its debug information offer, the best
// first.
func (t *Tracer) Methods() []Method {
	var list []Method
	if t.orc != nil {
		list = append(list, ByORC)
	}
	if _, err := t.debugFrame(); err == nil {
		list = append(list, ByCFI)
	}
	return append(list, ByCode, ByFrame, ByScan)
}

// StackSize is the size of a task's kernel stack in bytes.
func (t *Tracer) StackSize() uint64 { return t.size }

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
	s, err := t.start.state(w, tk)
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
	return w.run(fromRegisters(regs))
}

var walker = sync.Pool{New: func() any { return new(walk) }}
