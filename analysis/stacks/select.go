package stacks

import (
	"slices"
	"strings"

	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// Options choose tasks and say what to tell of them. A task is chosen if it is
// one of PIDs, Addrs, Comms or CPUs, where any are given, and fits the rest.
type Options struct {
	PIDs    []int32
	TGIDs   []int32 // all threads of these processes
	Addrs   []uint64
	Comms   []string
	CPUs    []int    // what runs there
	States  string   // letters
	Running bool     // only what a processor had
	In      []string // functions, of which one must be on the stack

	Unique    bool // fold equal stacks
	Raw       bool // the stacks' memory too
	Registers bool // of each frame, as far as they are known
	Lines     bool // source lines and inlined functions
	Locals    bool // parameters and local variables; implies Lines
	Scan      bool // nothing but a search for return addresses
	Limit     int  // of frames, 0 for 512
}

// named tells whether single tasks were asked for.
func (o *Options) named() bool {
	return len(o.PIDs)+len(o.TGIDs)+len(o.Addrs)+len(o.Comms)+len(o.CPUs) > 0
}

// fits tells whether a task is chosen, as far as that can be told without its
// stack. The processor is the one that has it, nil if none.
func (o *Options) fits(t *task.Task, cpu *unwind.CPU) bool {
	if o.Running && cpu == nil {
		return false
	}
	if o.States != "" && !strings.Contains(o.States, t.Letter()) {
		return false
	}
	if !o.named() {
		return true
	}
	return slices.Contains(o.PIDs, t.PID) ||
		slices.Contains(o.TGIDs, t.TGID) || slices.Contains(o.Addrs, t.Addr) ||
		slices.Contains(o.Comms, t.Comm) || cpu != nil && slices.Contains(o.CPUs, cpu.Number)
}

// passes tells whether one of the wanted functions is on a stack.
func (o *Options) passes(tr *unwind.Tracer, trace *unwind.Trace) bool {
	if len(o.In) == 0 {
		return true
	}
	for i := range trace.Frames {
		if fn, ok := tr.Function(&trace.Frames[i]); ok && slices.ContainsFunc(o.In, func(want string) bool { return isFunction(fn.Name, want) }) {
			return true
		}
	}
	return false
}

// isFunction tells whether a symbol is that of a function or of a part that the
// compiler made of it: name.cold, name.part.0, name.constprop.0, name.isra.0.
func isFunction(symbol, name string) bool {
	rest, ok := strings.CutPrefix(symbol, name)
	return ok && (rest == "" || rest[0] == '.')
}
