// Package amd64 is the x86-64 architecture: its registers, struct pt_regs and
// its instructions.
package amd64

import (
	"encoding/binary"

	"github.com/kmortem/mortem/kernel/arch"
)

// The registers by DWARF number (System V ABI, AMD64 supplement, figure 3.36).
const (
	AX arch.Reg = iota
	DX
	CX
	BX
	SI
	DI
	BP
	SP
	R8
	R9
	R10
	R11
	R12
	R13
	R14
	R15
	IP
	Flags arch.Reg = 17 // DWARF has 49; kept here to have room
	CS    arch.Reg = 18 // DWARF has 51
	SS    arch.Reg = 19 // DWARF has 52
	Orig  arch.Reg = 20 // orig_ax of struct pt_regs: system call, error code or vector
)

// CalleeSaved has a bit for each register that a function gives back as it was.
const CalleeSaved = 1<<BX | 1<<BP | 1<<R12 | 1<<R13 | 1<<R14 | 1<<R15

// names are those of struct pt_regs, as the notes of dumps have them.
var names = [...]string{
	AX: "ax", DX: "dx", CX: "cx", BX: "bx", SI: "si", DI: "di", BP: "bp", SP: "sp",
	R8: "r8", R9: "r9", R10: "r10", R11: "r11", R12: "r12", R13: "r13", R14: "r14", R15: "r15",
	IP: "ip", Flags: "flags", CS: "cs", SS: "ss", Orig: "orig_ax",
}

// Name is the register's name as struct pt_regs has it, "" for a number that is
// none.
func Name(r arch.Reg) string {
	if int(r) >= len(names) {
		return ""
	}
	return names[r]
}

// pushed is the order of struct pt_regs from its lowest address on, as user
// space sees it too, so that no release changed it
// (arch/x86/include/uapi/asm/ptrace.h). Each is 8 bytes.
var pushed = [...]arch.Reg{R15, R14, R13, R12, BP, BX, R11, R10, R9, R8, AX, CX, DX, SI, DI, Orig, IP, CS, Flags, SP, SS}

// Sizes of exception frames in bytes.
const (
	PtRegsSize = 8 * len(pushed)
	IretOffset = 16 * 8 // of the part of struct pt_regs that the processor writes
	IretSize   = PtRegsSize - IretOffset
)

// Order is the order in which registers are shown: that of struct pt_regs.
func Order() []arch.Reg { return pushed[:] }

// PtRegs reads a struct pt_regs. Where only the part that the processor wrote is
// there, partial tells so and the other registers stay unknown. b has PtRegsSize
// bytes.
func PtRegs(b []byte, partial bool) arch.Registers {
	var r arch.Registers
	for i, reg := range pushed {
		if partial && i*8 < IretOffset {
			continue
		}
		r.Set(reg, binary.LittleEndian.Uint64(b[8*i:]))
	}
	return r
}

// User tells whether registers are those of user mode: the lowest two bits of
// CS are the privilege level. Unknown registers are not.
func User(r *arch.Registers) bool {
	cs, ok := r.Get(CS)
	return ok && cs&3 == 3
}

// ByName finds a register by its name in struct pt_regs.
func ByName(name string) (arch.Reg, bool) {
	for i, n := range names {
		if n == name && n != "" {
			return arch.Reg(i), true
		}
	}
	return 0, false
}
