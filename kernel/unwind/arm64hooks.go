package unwind

import (
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch/arm64"
)

// Tracers of arm64 replace the return address when it is still in the link register,
// or is in a frame record that the function has just made. They name it by the frame
// pointer at the function's entry, which is the caller's (arch/arm64/kernel/ftrace.c
// and probes/kprobes.c); kretprobes from 5.1 to 5.15 by the stack pointer there, which
// lies between the function's frame record and that of its caller.

// replaced implements machine.
func (m *arm64Machine) replaced(s *state, key uint64) bool {
	fp, known := s.regs.Get(arm64.FP)
	if !known {
		return false
	}
	above := s.slot
	if above == 0 { // in the link register
		above = s.sp - 1
	}
	return key == fp || key > above && key < fp
}

func (m *arm64Machine) graphPlace(e *graphEntry) kernel.U64 {
	if e.Place.Has() {
		return e.Place
	}
	return e.FP
}

// trampoline makes the step from a trampoline that runs, to which a function has
// returned. FP is the caller's there, and nothing on the stack leads to it, but what the
// tracer has put away. That of kretprobes makes a frame record since 5.16, with its own
// address for the return address: frame pointers lead on from there.
func (m *arm64Machine) trampoline(w *walk, s *state) (step, error) {
	fp, known := s.regs.Get(arm64.FP)
	if !known || fp <= s.sp || w.stackOf(fp) == nil {
		return step{}, errNoData
	}
	var n step
	for _, code := range w.t.hooks.code {
		if within([]span{code}, s.lookup()) {
			n.state.pc = code.start
		}
	}
	n.state.sp = fp
	n.state.regs.Set(arm64.FP, fp)
	n.state.regs.Set(w.t.reg.PC, n.state.pc)
	if w.unhook(&n.state); n.state.lost || n.state.hooked == "" {
		return step{}, errNoData
	}
	return n, nil
}
