// Package stacks answers who was running what, and where each task was stuck:
// the stacks of all tasks of a dump, or of those chosen, one by one or with equal
// ones folded.
package stacks

import (
	"github.com/kmortem/mortem/kernel"
)

// Report is the answer.
type Report struct {
	Methods  []string `json:"methods"`          // by which this kernel can be unwound, the best first
	Searched uint64   `json:"searched"`         // tasks looked at
	Selected uint64   `json:"selected"`         // tasks that the selection left
	Stacks   []Stack  `json:"stacks,omitempty"` // one for each selected task
	Groups   []Group  `json:"groups,omitempty"` // of equal stacks, the most frequent first; with Options.Unique
	// Overflowed are the selected tasks whose stack was once used up: the mark at
	// its far end has been written over, and so may be what lies below.
	Overflowed []Task          `json:"overflowed,omitempty"`
	Missing    []string        `json:"missing,omitempty"` // what the debug information lacks of what was asked for
	Unknown    []string        `json:"unknown,omitempty"` // what was asked for by name or number and is not in the dump
	Coverage   kernel.Coverage `json:"coverage"`          // of tasks and their stacks
}

// Group is a number of tasks with equal stacks: the same functions at the same
// places.
type Group struct {
	Count  int     `json:"count"`
	Frames []Frame `json:"frames"` // of one of them; addresses on the stack are its
	End    string  `json:"end"`
	Error  string  `json:"error,omitempty"`
	Tasks  []Task  `json:"tasks"`
}

// Task is one thread.
type Task struct {
	Addr    kernel.Addr `json:"task"`
	PID     int32       `json:"pid"`
	TGID    int32       `json:"tgid"`
	CPU     int         `json:"cpu"` // where it is or last was, -1 if unknown
	Comm    string      `json:"comm"`
	State   string      `json:"state"`   // one letter
	Running bool        `json:"running"` // a processor had it when the dump was taken
}

// Stack is the stack of one task.
type Stack struct {
	Task
	// Registers are those of the processor that it ran on, by name.
	Source string `json:"registers_from,omitempty"` // the note in the dump
	// SwitchingTo is the task that the processor was about to run: its run queue
	// had it already, but the registers and the stack were still this task's.
	SwitchingTo *Task `json:"switching_to,omitempty"`
	// NextOn is the processor that was about to run this task so, nil if none.
	NextOn *int    `json:"next_on_cpu,omitempty"`
	Frames []Frame `json:"frames"`
	// End is why the stack ends there: "user mode", "start of thread",
	// "freed", "limit" or "broken"; Error says more of the last.
	End   string     `json:"end"`
	Error string     `json:"error,omitempty"`
	User  *Exception `json:"user,omitempty"` // the registers of user mode
	// Faults are the places where unwinding failed and a search for return
	// addresses went on, or where functions are missing.
	Faults []string `json:"faults,omitempty"`
	Raw    []Word   `json:"raw,omitempty"` // the stack's memory, with Options.Raw
	// Found are all sets of registers that look as if an exception or system call had
	// saved them, by their addresses; with Options.Exceptions.
	Found []Found `json:"found_exceptions,omitempty"`
}

// Found is a set of registers that a search found on a stack. What lies below the
// stack pointers of functions are remains of exceptions that are over.
type Found struct {
	Exception
	Stack  string `json:"stack"`  // which one: "task", "IRQ", "NMI", …
	Walked bool   `json:"walked"` // the frames lead through it
}

// Frame is one function on a stack.
type Frame struct {
	Index      int         `json:"index"`
	SP         kernel.Addr `json:"sp"`             // the function's stack pointer
	Slot       kernel.Addr `json:"slot,omitempty"` // where the PC lies on the stack
	PC         kernel.Addr `json:"pc"`
	Function   string      `json:"function"`       // empty where no symbol is known
	Offset     uint64      `json:"offset"`         // of PC in it, in bytes
	Size       uint64      `json:"size,omitempty"` // of the function in bytes
	Module     string      `json:"module,omitempty"`
	Stack      string      `json:"stack"` // which one: "task", "IRQ", "NMI", …
	Method     string      `json:"method"`
	Confidence string      `json:"confidence"`
	Hooked     string      `json:"hooked,omitempty"` // by what its return address was replaced
	Note       string      `json:"note,omitempty"`
	Exception  *Exception  `json:"exception,omitempty"` // that this entry code handles
	Registers  []Register  `json:"registers,omitempty"` // of the function, as far as they are known
	Data       []Word      `json:"data,omitempty"`      // its memory with the return address, with Options.Data
	// Source has the function and those inlined into it at PC, the innermost
	// first, with Options.Lines or Options.Locals, and where one of them is of
	// Options.In.
	Source []Source `json:"source,omitempty"`
}

// Source is a function in the source, and where it is.
type Source struct {
	Function string  `json:"function"`
	Inlined  bool    `json:"inlined"` // into the next one
	File     string  `json:"file,omitempty"`
	Line     int     `json:"line,omitempty"`
	Locals   []Local `json:"locals,omitempty"`
}

// Local is a parameter or local variable.
type Local struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Parameter bool   `json:"parameter"`
	Value     string `json:"value,omitempty"`   // as C
	Where     string `json:"where,omitempty"`   // a register's name, or an address
	Unknown   string `json:"unknown,omitempty"` // why there is no value
}

// Exception is a set of registers that entry code saved.
type Exception struct {
	Addr      kernel.Addr `json:"addr,omitempty"` // of the struct pt_regs
	User      bool        `json:"user"`
	Partial   bool        `json:"partial,omitempty"` // the processor's own part only
	At        string      `json:"at,omitempty"`      // the function that was interrupted
	Registers []Register  `json:"registers"`
}

// Register is one register.
type Register struct {
	Name  string      `json:"name"`
	Value kernel.Addr `json:"value"`
}

// Word is a word on a stack.
type Word struct {
	Addr   kernel.Addr `json:"addr"`
	Value  kernel.Addr `json:"value"`
	Symbol string      `json:"symbol,omitempty"` // where it is an address in the kernel image or a module
	Cache  string      `json:"cache,omitempty"`  // slab cache of the object that it points into
	Object kernel.Addr `json:"object,omitempty"` // where that begins
	Free   bool        `json:"free,omitempty"`   // that is not in use
}
