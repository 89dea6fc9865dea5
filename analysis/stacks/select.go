package stacks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kmortem/mortem/kernel/glob"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// Options choose tasks and say what to tell of them. A task is chosen if it is
// one of PIDs, Addrs, Comms or CPUs, where any are given, and fits the rest.
type Options struct {
	PIDs    []int32
	TGIDs   []int32 // all threads of these processes
	Addrs   []uint64
	Comms   []string // with * for any characters and ? for one
	CPUs    []int    // what runs there
	States  string   // letters
	Running bool     // only what a processor had
	Panic   bool     // only what the processor that panicked had
	// In are functions, of which one must be on the stack, with * and ? too; also
	// inlined into another, where the debug information is DWARF. Frames have their
	// Source then.
	In []string

	Unique bool // fold equal stacks
	Raw    bool // the stacks' memory too
	Data   bool // the memory of each frame
	Names  bool // what the words of Raw and Data point to: symbols and slab objects; without it, code only
	// Exceptions searches the stacks, and those of the processor, for registers that
	// exceptions saved.
	Exceptions bool
	Registers  bool // of each frame, as far as they are known
	Lines      bool // source lines and inlined functions
	Locals     bool // parameters and local variables; implies Lines
	Scan       bool // nothing but a search for return addresses
	Limit      int  // of frames; 0 means 512, negative all
}

// chosen is what Options say of single tasks, and which of them there are.
type chosen struct {
	*Options
	tasks    task.Sought
	cpus     []int
	panicked int    // the processor that panicked, -1 where none did
	inlined  []bool // by In: whether it was found inlined into another function
}

func choose(o *Options) chosen {
	return chosen{Options: o, tasks: task.Sought{PIDs: o.PIDs, TGIDs: o.TGIDs, Addrs: o.Addrs, Comms: o.Comms}, inlined: make([]bool, len(o.In))}
}

// fits tells whether a task is chosen, as far as that can be told without its
// stack. The processor is the one that has it, nil if none.
func (o *chosen) fits(t *task.Task, cpu *unwind.CPU) bool {
	single := o.tasks.Has(t)
	if cpu != nil && slices.Contains(o.CPUs, cpu.Number) {
		single, o.cpus = true, append(o.cpus, cpu.Number)
	}
	switch {
	case o.Running && cpu == nil,
		o.Panic && (cpu == nil || cpu.Number != o.panicked),
		o.States != "" && !strings.Contains(o.States, t.Letter()):
		return false
	}
	return single || !o.tasks.Any() && len(o.CPUs) == 0
}

// unknown says what was asked for and is not in the dump.
func (o *chosen) unknown(t *Tasks, blind bool) []string {
	list := o.tasks.Missing()
	if o.Panic && o.panicked < 0 {
		list = append(list, "no processor panicked")
	}
	for _, n := range o.CPUs {
		if !slices.Contains(o.cpus, n) {
			list = append(list, fmt.Sprintf("CPU %d is not among those that were online", n))
		}
	}
	orInlined := ""
	if blind {
		orInlined = ", or it was inlined everywhere, which only DWARF tells"
	}
	for i, name := range o.In {
		if !o.inlined[i] && !t.hasFunction(name) && !t.knowsFunction(name) {
			list = append(list, fmt.Sprintf("there is no function %s%s", name, orInlined))
		}
	}
	return list
}

// hasFunction tells whether the kernel or a module has a function of that name, or
// a part of it.
func (t *Tasks) hasFunction(name string) bool {
	if t.k.HasSymbol(name) {
		return true
	}
	if t.modules != nil {
		if _, _, ok := t.modules.Lookup(name); ok {
			return true
		}
	}
	for s := range t.k.Info().Symbols().All() {
		if isFunction(s.Name, name) {
			return true
		}
	}
	return glob.Is(name) && t.modules != nil // whose functions are looked up by their names
}

// isFunction tells whether a symbol is that of a function or of a part that the
// compiler made of it: name.cold, name.part.0, name.constprop.0, name.isra.0.
func isFunction(symbol, name string) bool {
	if glob.Is(name) {
		base, _, _ := strings.Cut(symbol, ".")
		return glob.Match(name, symbol) || glob.Match(name, base)
	}
	rest, ok := strings.CutPrefix(symbol, name)
	return ok && (rest == "" || rest[0] == '.')
}
