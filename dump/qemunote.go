package dump

// The layout of the processor state in QEMU's notes: struct QEMUCPUState of
// target/i386/arch_dump.c, version 1. Two 32-bit words (version and size), the
// general registers, ten segment registers of 24 bytes, five control
// registers, and since QEMU 3.0 kernel_gs_base.
const (
	qemuVersion  = 1
	qemuGeneral  = 8
	qemuSegments = qemuGeneral + 18*8
	qemuSegSize  = 24
	qemuControl  = qemuSegments + 10*qemuSegSize
	qemuKernelGS = qemuControl + 5*8
)

var (
	qemuGeneralNames = []string{"ax", "bx", "cx", "dx", "si", "di", "sp", "bp",
		"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "ip", "flags"}
	qemuSegmentNames = []string{"cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt"}
	qemuControlNames = []string{"cr0", "cr1", "cr2", "cr3", "cr4"}
)

// parseQEMUState reads a QEMU note of an x86 machine. Each segment register
// gives three values: "cs" (the selector), "cs_base" and "cs_limit".
func parseQEMUState(desc []byte, arch Arch, f fields) (CPU, bool) {
	f.data = desc
	if arch != ArchX86_64 && arch != ArchX86 || len(desc) < qemuKernelGS || f.u32(0) != qemuVersion {
		return CPU{}, false
	}
	cpu := CPU{Source: "QEMU"}
	for i, name := range qemuGeneralNames {
		cpu.General = append(cpu.General, Register{name, f.u64(qemuGeneral + i*8)})
	}
	for i, name := range qemuControlNames {
		cpu.Control = append(cpu.Control, Register{name, f.u64(qemuControl + i*8)})
	}
	for i, name := range qemuSegmentNames {
		at := qemuSegments + i*qemuSegSize
		cpu.Control = append(cpu.Control,
			Register{name, uint64(f.u32(at))},
			Register{name + "_base", f.u64(at + 16)},
			Register{name + "_limit", uint64(f.u32(at + 4))})
	}
	if len(desc) >= qemuKernelGS+8 {
		cpu.Control = append(cpu.Control, Register{"kernel_gs_base", f.u64(qemuKernelGS)})
	}
	return cpu, true
}
