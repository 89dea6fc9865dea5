// Package arm64 is the arm64 architecture: its registers, struct pt_regs and its
// instructions.
package arm64

import (
	"encoding/binary"

	"github.com/kmortem/mortem/kernel/arch"
)

// The registers by DWARF number (DWARF for the Arm 64-bit Architecture, 4.1): 0
// to 30 are the general ones.
const (
	FP     arch.Reg = 29 // x29 by the procedure call standard
	LR     arch.Reg = 30
	SP     arch.Reg = 31
	PC     arch.Reg = 32
	PState arch.Reg = 33 // DWARF has the signing state from 34 on, and no PSTATE
)

// Sizes of struct pt_regs in bytes (arch/arm64/include/asm/ptrace.h): what all
// releases have in it, the registers as user space sees them too (struct
// user_pt_regs).
const (
	ptRegsSize = 34 * 8
	ptRegsPC   = 32 * 8
)

var file = newFile()

func newFile() *arch.RegisterFile {
	f := &arch.RegisterFile{
		PC: PC, SP: SP, FP: FP, Link: LR, HasLink: true,
		Names: []string{"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
			"x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp", "pc", "pstate"},
		PtRegsSize: ptRegsSize, PtRegsPC: ptRegsPC,
	}
	for r := range arch.Reg(len(f.Names)) {
		f.Order = append(f.Order, r)
		if r >= 19 && r <= FP {
			f.Saved = append(f.Saved, r)
		}
	}
	return f
}

// Arch is arm64 as an architecture.
type Arch struct{ Decoder }

var _ arch.Arch = Arch{}

// Registers implements arch.Arch.
func (Arch) Registers() *arch.RegisterFile { return file }

// PtRegs implements arch.Arch. There are no partial ones on arm64.
func (Arch) PtRegs(b []byte, partial bool) arch.Registers {
	var r arch.Registers
	for i, reg := range file.Order {
		r.Set(reg, binary.LittleEndian.Uint64(b[8*i:]))
	}
	return r
}

// Bits of the saved program status (SPSR_EL1).
const (
	modeMask  = 0xf      // exception level and stack pointer
	mode32    = 1 << 4   // AArch32, which only user mode can be
	undefined = -1 << 36 // no release of the architecture has bits from here on
)

// User implements arch.Arch: exception level 0.
func (Arch) User(r *arch.Registers) bool {
	state, ok := r.Get(PState)
	return ok && state&modeMask == 0
}

// Sane implements arch.Arch: an exception level that Linux runs at, and a program
// counter that is a multiple of 4 outside of 32-bit programs.
func (Arch) Sane(r *arch.Registers) bool {
	state, _ := r.Get(PState)
	pc, _ := r.Get(PC)
	switch state & (modeMask | mode32) {
	case 0x0, 0x4, 0x5, 0x8, 0x9: // EL0t, EL1t, EL1h, EL2t, EL2h
		return int64(state)&undefined == 0 && pc%4 == 0
	case mode32:
		return int64(state)&undefined == 0 && pc>>32 == 0
	}
	return false
}
