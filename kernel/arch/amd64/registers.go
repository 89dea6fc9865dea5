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

// pushed is the order of struct pt_regs from its lowest address on, as user
// space sees it too, so that no release changed it
// (arch/x86/include/uapi/asm/ptrace.h). Each is 8 bytes.
var pushed = [...]arch.Reg{R15, R14, R13, R12, BP, BX, R11, R10, R9, R8, AX, CX, DX, SI, DI, Orig, IP, CS, Flags, SP, SS}

// Sizes of exception frames in bytes.
const (
	PtRegsSize = 8 * len(pushed)
	IretOffset = 16 * 8 // of the part of struct pt_regs that the processor writes
)

var file = arch.RegisterFile{
	PC: IP, SP: SP, FP: BP,
	Saved: []arch.Reg{BX, BP, R12, R13, R14, R15},
	Order: pushed[:], Names: names[:],
	PtRegsSize: PtRegsSize, PtRegsPartial: IretOffset, PtRegsPC: IretOffset,
}

// Arch is x86-64 as an architecture.
type Arch struct{ Decoder }

var _ arch.Arch = Arch{}

// Registers implements arch.Arch.
func (Arch) Registers() *arch.RegisterFile { return &file }

// PtRegs implements arch.Arch. The processor itself writes ip, cs, flags, sp and
// ss.
func (Arch) PtRegs(b []byte, partial bool) arch.Registers {
	var r arch.Registers
	for i, reg := range pushed {
		if partial && i*8 < IretOffset {
			continue
		}
		r.Set(reg, binary.LittleEndian.Uint64(b[8*i:]))
	}
	return r
}

// User implements arch.Arch: the lowest two bits of CS are the privilege level.
func (Arch) User(r *arch.Registers) bool {
	cs, ok := r.Get(CS)
	return ok && cs&3 == 3
}

// What is above the 16 bits of the segments: nothing, but where the processor enters the
// kernel by FRED (struct fred_cs and fred_ss in arch/x86/include/asm/ptrace.h, since 6.9).
// There it tells the stack level, and the kind of the event. All other bits are 0.
const (
	fredCS   = 7 << 16                                      // sl, wfe
	fredSS   = 7<<16 | 0xff<<32 | 0xf<<48 | 7<<56 | 0xf<<60 // sti, swevent, nmi; vector; type; enclave, lm, nested; insnlen
	selector = 1<<16 - 1
)

// Sane implements arch.Arch: segments of a privilege level that Linux uses, and no bit
// beside them that no processor sets.
func (Arch) Sane(r *arch.Registers) bool {
	cs, _ := r.Get(CS)
	ss, _ := r.Get(SS)
	level := cs & 3
	return cs&^(selector|fredCS) == 0 && ss&^uint64(selector|fredSS) == 0 && (level == 0 || level == 3) && cs&selector != 0
}
