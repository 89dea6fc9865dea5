package dump

import "fmt"

// prLayout is the shape of struct elf_prstatus on one architecture (Linux
// include/linux/elfcore.h): a common head, the general registers, and a flag.
type prLayout struct {
	size int      // of the whole structure, in bytes
	pid  int      // offset of pr_pid
	regs int      // offset of pr_reg
	word int      // bytes of a register
	name []string // of the registers, in their order
}

// The head of elf_prstatus has three ints, a short, and two longs before
// pr_pid; four ints and four timevals of two longs follow it.
const (
	prPID64, prRegs64 = 32, 112
	prPID32, prRegs32 = 24, 72
)

// prLayouts gives the layouts by architecture. The register names are those of
// struct pt_regs or user_regs_struct in arch/*/include/asm.
var prLayouts = map[Arch]prLayout{
	ArchX86_64: {336, prPID64, prRegs64, 8, []string{
		"r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8",
		"ax", "cx", "dx", "si", "di", "orig_ax", "ip", "cs", "flags", "sp", "ss",
		"fs_base", "gs_base", "ds", "es", "fs", "gs"}},
	ArchX86: {144, prPID32, prRegs32, 4, []string{
		"bx", "cx", "dx", "si", "di", "bp", "ax", "ds", "es", "fs", "gs",
		"orig_ax", "ip", "cs", "flags", "sp", "ss"}},
	ArchARM64:   {392, prPID64, prRegs64, 8, append(numbered("x", 0, 31), "sp", "pc", "pstate")},
	ArchARM:     {148, prPID32, prRegs32, 4, append(numbered("r", 0, 11), "fp", "ip", "sp", "lr", "pc", "cpsr", "orig_r0")},
	ArchPPC64:   {504, prPID64, prRegs64, 8, append(numbered("r", 0, 32), "nip", "msr", "orig_gpr3", "ctr", "link", "xer", "ccr", "softe", "trap", "dar", "dsisr", "result")},
	ArchS390X:   {336, prPID64, prRegs64, 8, append([]string{"psw_mask", "psw_addr"}, numbered("r", 0, 16)...)},
	ArchRISCV64: {376, prPID64, prRegs64, 8, []string{"epc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"}},
}

// narrowArch names the architecture whose notes a 64-bit machine has while it
// runs 32-bit code.
var narrowArch = map[Arch]Arch{ArchX86_64: ArchX86, ArchARM64: ArchARM}

func numbered(prefix string, from, to int) []string {
	var names []string
	for i := from; i < to; i++ {
		names = append(names, fmt.Sprint(prefix, i))
	}
	return names
}

// parsePRStatus reads a NT_PRSTATUS note. Of an architecture that is not known
// it reads the task's pid, whose place depends on the width of a long only.
func parsePRStatus(desc []byte, arch Arch, f fields) CPU {
	f.data = desc
	cpu := CPU{Source: "NT_PRSTATUS"}
	layout, known := prLayouts[arch]
	if narrow, has := narrowArch[arch]; has && len(desc) == prLayouts[narrow].size {
		layout = prLayouts[narrow] // QEMU, of a processor in 32-bit mode
	}
	if !known {
		layout = prLayout{pid: prPID32}
		if f.is64 {
			layout.pid = prPID64
		}
	}
	cpu.PID = int(int32(f.u32(layout.pid)))
	if len(desc) < layout.regs+layout.word*len(layout.name) {
		return cpu
	}
	for i, name := range layout.name {
		at := layout.regs + i*layout.word
		val := f.u64(at)
		if layout.word == 4 {
			val = uint64(f.u32(at))
		}
		cpu.General = append(cpu.General, Register{name, val})
	}
	return cpu
}
