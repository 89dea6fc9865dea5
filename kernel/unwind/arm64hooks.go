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
func (m *arm64Machine) replaced(at returnPlace, key uint64) bool {
	if !at.framed {
		return false
	}
	above := at.slot
	if above == 0 { // in the link register
		above = at.sp - 1
	}
	return key == at.fp || key > above && key < at.fp
}

func (m *arm64Machine) graphPlace(e *graphEntry) kernel.U64 {
	if e.Place.Has() {
		return e.Place
	}
	return e.FP
}

// returned implements machine. FP is the caller's in trampolines. That of kretprobes makes
// a frame record since 5.16, with its own address for the return address, from which frame
// pointers lead on.
func (m *arm64Machine) returned(w *walk, s *state) (state, bool) {
	fp, known := s.regs.Get(arm64.FP)
	if !known || fp <= s.sp || w.stackOf(fp) == nil {
		return state{}, false
	}
	caller := state{sp: fp}
	caller.regs.Set(arm64.FP, fp)
	return caller, true
}
