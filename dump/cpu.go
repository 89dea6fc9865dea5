package dump

// CPU is the state of one processor as the dump's notes have it.
type CPU struct {
	Index  int    // position among the notes of its kind: the CPU number, as long as no CPU is offline
	Source string // the note it comes from: "NT_PRSTATUS" or "QEMU"
	PID    int    // pr_pid of NT_PRSTATUS: the task that ran there; 0 if unknown

	// General are the general registers by the names that the architecture's
	// struct pt_regs gives them (Linux arch/*/include/asm/ptrace.h), in its
	// order.
	General []Register
	// Control are the control and segment registers that a QEMU note adds
	// (target/i386/arch_dump.c): "cr0", "cr3", "gs_base", "kernel_gs_base", ….
	Control []Register
}

// Register is one named register.
type Register struct {
	Name  string
	Value uint64
}

// Register returns the value of the register of that name, and whether the
// dump has it.
func (c *CPU) Register(name string) (uint64, bool) {
	for _, set := range [][]Register{c.General, c.Control} {
		for _, r := range set {
			if r.Name == name {
				return r.Value, true
			}
		}
	}
	return 0, false
}
