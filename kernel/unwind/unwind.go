// Package unwind answers how a task or a processor got to where it is: it walks
// kernel stacks in a dump from the innermost function outwards, to user mode or
// to the function that a kernel thread started in.
//
// Each frame says by which method it was found and how sure that is. The methods
// are, in this order: ORC, the unwind data that the kernel itself uses, read from
// the dump's own memory; DWARF call frame information; the function's own
// instructions; frame pointers; and a search for return addresses.
package unwind

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/arch"
)

// Method is how a frame was found.
type Method string

// The methods.
const (
	ByRegisters Method = "registers" // the first frame: where the task was
	BySwitch    Method = "switch"    // the first frame of a task that was switched out
	ByORC       Method = "ORC"
	ByCFI       Method = "CFI"
	ByCode      Method = "code" // the function's own instructions
	ByFrame     Method = "frame pointer"
	ByScan      Method = "scan"
	ByException Method = "exception" // registers that an exception saved on the stack
)

// Confidence is how sure a frame is.
type Confidence string

// How sure a frame is.
const (
	Certain   Confidence = "certain"
	Likely    Confidence = "likely"    // by what need not be so: frame pointers, instructions followed
	Suspected Confidence = "suspected" // a return address lies there; whether it is still in use is not known
)

// Frame is one function on a stack.
type Frame struct {
	PC     uint64 // virtual address of the instruction
	Return bool   // PC is where a call returns to, so that the call is before it
	SP     uint64 // the stack pointer of the function at PC
	CFA    uint64 // the stack pointer of the caller once the function has returned; 0 if unknown
	Slot   uint64 // where PC lies on the stack; 0 for one from a register
	Method Method
	Sure   Confidence
	Stack  *Stack // the stack that SP lies on, nil if on none that is known
	// Registers are those that are known to have been the function's.
	Registers arch.Registers
	// Exception is what this function, which is entry code, found: the
	// registers of what was interrupted, which the next frame shows.
	Exception *Exception
	// Hooked is the trampoline that a return address was replaced by
	// (function-graph tracing, a kretprobe); PC is the real one.
	Hooked string
	// Note says what is odd about how the frame was found, where something is.
	Note string
}

// Lookup is the address by which to look up the function and line of a frame: a
// return address can lie behind the end of the function that called.
func (f *Frame) Lookup() uint64 {
	if f.Return {
		return f.PC - 1
	}
	return f.PC
}

// Exception is the set of registers that entry code saved (struct pt_regs).
type Exception struct {
	Addr      uint64 // virtual address of the struct pt_regs
	Partial   bool   // only what the processor wrote: ip, cs, flags, sp, ss
	User      bool   // they are those of user mode
	Registers arch.Registers
}

// End says why a trace ends where it does.
type End string

// The ways in which traces end.
const (
	EndUser   End = "user mode"       // at the entry from user mode
	EndThread End = "start of thread" // at the function that the thread began in
	EndGone   End = "freed"           // the task has exited, and its stack is freed; there are no frames
	EndStack  End = "end of stack"    // no more return addresses lie on it, with Options.Scan
	EndLimit  End = "limit"           // at the highest number of frames
	EndBroken End = "broken"          // what follows cannot be had; Err says why
)

// Trace is one stack.
type Trace struct {
	Frames []Frame
	End    End
	Err    error      // set where End is EndBroken
	User   *Exception // the registers of user mode, where the dump has them
	// Faults are the places where unwinding failed and a search for return
	// addresses went on, or where functions are missing.
	Faults []error
}

// Complete tells whether the trace has come to the stack's end without a break.
func (t *Trace) Complete() bool {
	return t.End != EndBroken && t.End != EndLimit && len(t.Faults) == 0
}

// StackError says where a stack cannot be followed any more.
type StackError struct {
	PC   uint64 // the function whose caller was looked for
	Addr uint64 // virtual address on the stack, 0 where that is not the matter
	Why  string
	Err  error // of the read, nil where it is not the matter
}

// Error implements error.
func (e *StackError) Error() string {
	s := fmt.Sprintf("the caller of %#x is not known: %s", e.PC, e.Why)
	if e.Addr != 0 {
		s = fmt.Sprintf("%s at %#x", s, e.Addr)
	}
	if e.Err != nil {
		s = fmt.Sprintf("%s: %v", s, e.Err)
	}
	return s
}

// Unwrap makes errors.Is and errors.As work for the cause.
func (e *StackError) Unwrap() error { return e.Err }
