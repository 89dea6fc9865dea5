package unwind

import (
	"testing"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
	"github.com/kmortem/mortem/kernel/arch/arm64"
)

// foundAt tells whether the search finds registers at an address.
func foundAt(t testing.TB, list []Saved, at uint64, stack string) bool {
	for i := range list {
		if list[i].Addr == at {
			if list[i].Stack.Name != stack || list[i].User {
				t.Errorf("registers at %#x are on the stack %s, of user mode: %v", at, list[i].Stack.Name, list[i].User)
			}
			return true
		}
	}
	return false
}

// TestFRED: the processor writes more than the segments into their places. The stack is
// walked through such registers, and the search finds them.
func TestFRED(t *testing.T) {
	s := newScene(t)
	at := s.stack(1, "NMI").End - 0x400
	regs := s.at(2)
	regs.Set(amd64.CS, 0x10|1<<16)                   // stack level 1
	regs.Set(amd64.SS, 0x18|1<<18|2<<32|2<<48|1<<57) // NMI, vector 2, type 2, 64-bit mode
	s.mem.putRegs(at, &regs)
	s.run(1, s.entry("asm_exc_nmi"), at, 1, 2)
	found, _ := s.tr.Exceptions(s.task, 1) // not all stacks are mapped
	if !foundAt(t, found, at, "NMI") {
		t.Error("the search does not find the registers")
	}
}

// TestNoExceptions: what differs from registers in one thing is not found, and the copies
// that entry code for NMIs makes of the processor's words are not others.
func TestNoExceptions(t *testing.T) {
	s := newScene(t)
	at := s.stack(1, "NMI").End - 0x400
	for what, with := range map[string]func(r *arch.Registers){
		"":                                func(*arch.Registers) {},
		"a reserved flag":                 func(r *arch.Registers) { r.Set(amd64.Flags, 0x20a) },
		"no flag that is always set":      func(r *arch.Registers) { r.Set(amd64.Flags, 0x200) },
		"a segment that Linux has not":    func(r *arch.Registers) { r.Set(amd64.CS, 0x18) },
		"user's stack segment":            func(r *arch.Registers) { r.Set(amd64.SS, 0x2b) },
		"no code":                         func(r *arch.Registers) { r.Set(amd64.IP, s.task.Addr) },
		"a stack pointer to no stack":     func(r *arch.Registers) { r.Set(amd64.SP, s.task.Addr) },
		"user mode without interrupts":    func(r *arch.Registers) { r.Set(amd64.CS, 0x33); r.Set(amd64.SS, 0x2b); r.Set(amd64.Flags, 2) },
		"user mode at a kernel's address": func(r *arch.Registers) { r.Set(amd64.CS, 0x33); r.Set(amd64.SS, 0x2b) },
	} {
		regs := s.at(2)
		with(&regs)
		s.mem.putRegs(at, &regs)
		found, _ := s.tr.Exceptions(s.task, 1)
		if foundAt(t, found, at, "NMI") != (what == "") {
			t.Errorf("with %q: found is %v", what, what != "")
		}
	}
	regs := s.at(2)
	s.mem.putRegs(at, &regs)
	for i, reg := range []arch.Reg{amd64.IP, amd64.CS, amd64.Flags, amd64.SP, amd64.SS} {
		v, _ := regs.Get(reg)
		s.mem.put(at+uint64(amd64.PtRegsSize+8*i), v)
	}
	found, _ := s.tr.Exceptions(s.task, 1)
	if !foundAt(t, found, at, "NMI") || foundAt(t, found, at+5*8, "NMI") {
		t.Error("a copy of the last five words is taken for other registers")
	}
}

// TestARM64FindsExceptions: an interrupt's registers are found on the stack that they are
// on, and not without the frame record that entry code adds.
func TestARM64FindsExceptions(t *testing.T) {
	s := newARM64Scene(t)
	const i = 4
	at := s.trace.Frames[i].SP - 0x150
	s.interrupt(i, "gic_handle_irq", at-0x80)
	found, err := s.tr.Exceptions(s.task, -1)
	if err != nil || !foundAt(t, found, at, "task") {
		t.Errorf("%v, %d others", err, len(found))
	}
	r := s.at(i)
	record := s.putRegs(at, &r)
	s.mem.put(record, 0)
	if found, _ := s.tr.Exceptions(s.task, -1); foundAt(t, found, at, "task") {
		t.Error("found without its frame record")
	}
	s.putRegs(at, &r)
	s.mem.put(at+8*uint64(arm64.SP), at) // the stack pointer within the registers
	if found, _ := s.tr.Exceptions(s.task, -1); foundAt(t, found, at, "task") {
		t.Error("found below a stack pointer that is in them")
	}
}
