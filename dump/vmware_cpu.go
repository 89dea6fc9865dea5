package dump

import "encoding/binary"

// vmGeneral gives the names of the general registers in a state file's group
// "cpu", in the order in which its block "gpregs" has them, by the names of
// struct pt_regs.
var vmGeneral = []struct{ tag, name string }{
	{"rax", "ax"}, {"rcx", "cx"}, {"rdx", "dx"}, {"rbx", "bx"},
	{"rbp", "bp"}, {"rsp", "sp"}, {"rsi", "si"}, {"rdi", "di"},
	{"r8", "r8"}, {"r9", "r9"}, {"r10", "r10"}, {"r11", "r11"},
	{"r12", "r12"}, {"r13", "r13"}, {"r14", "r14"}, {"r15", "r15"},
}

var vmControl = []string{"cr0", "cr1", "cr2", "cr3", "cr4"}

// maxVMCPUs is beyond what VMware allows.
const maxVMCPUs = 4096

// takeCPU reads the tags of the group "cpu". The first index of a register is
// the number of the processor.
func (st *vmState) takeCPU(t *vmTag) {
	if t.name == "cpu:numVCPUs" {
		st.numCPU = uint32(t.number())
		return
	}
	general, control := vmRegisters(t)
	n := t.at(0)
	if len(general)+len(control) == 0 || n >= maxVMCPUs {
		return
	}
	cpu := st.cpus[n]
	if cpu == nil {
		cpu = &CPU{Index: int(n), Source: "VMware state"}
		st.cpus[n] = cpu
	}
	for _, r := range general {
		cpu.General = setRegister(cpu.General, r)
	}
	for _, r := range control {
		cpu.Control = setRegister(cpu.Control, r)
	}
}

// vmRegisters returns the registers that a tag gives.
func vmRegisters(t *vmTag) (general, control []Register) {
	switch t.name {
	case "rip":
		return []Register{{"ip", t.number()}}, nil
	case "eflags", "EFLAGS":
		return []Register{{"flags", t.number()}}, nil
	case "gpregs":
		return blockRegisters(t, len(vmGeneral), func(i int) string { return vmGeneral[i].name }), nil
	case "CR64":
		if t.block != nil {
			return nil, blockRegisters(t, len(vmControl), func(i int) string { return vmControl[i] })
		}
		if i := t.at(1); int(i) < len(vmControl) {
			return nil, []Register{{vmControl[i], t.number()}}
		}
		return nil, nil
	}
	for _, g := range vmGeneral {
		if t.name == g.tag {
			return []Register{{g.name, t.number()}}, nil
		}
	}
	return nil, nil
}

// blockRegisters reads n registers of 64 bits from a block.
func blockRegisters(t *vmTag, n int, name func(i int) string) []Register {
	data := t.bytes(1024)
	var list []Register
	for i := 0; i < n && 8*i+8 <= len(data); i++ {
		list = append(list, Register{name(i), binary.LittleEndian.Uint64(data[8*i:])})
	}
	return list
}

// setRegister sets one register, which may stand in the file in two tags.
func setRegister(list []Register, r Register) []Register {
	for i := range list {
		if list[i].Name == r.Name {
			list[i].Value |= r.Value // "eflags" and "EFLAGS" have different bits
			return list
		}
	}
	return append(list, r)
}
