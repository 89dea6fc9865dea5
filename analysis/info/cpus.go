package info

import (
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
)

func cpus(f *dump.Facts) []CPU {
	out := make([]CPU, 0, len(f.CPUs))
	for i := range f.CPUs {
		c := &f.CPUs[i]
		cpu := CPU{Index: c.Index, Source: c.Source, PID: c.PID, Mode: mode(f.Arch, c), Registers: []Register{}}
		for _, set := range [][]dump.Register{c.General, c.Control} {
			for _, reg := range set {
				cpu.Registers = append(cpu.Registers, Register{reg.Name, kernel.Addr(reg.Value)})
			}
		}
		out = append(out, cpu)
	}
	return out
}

// mode tells whether a processor ran the kernel or a program: by the privilege
// level in the code segment of x86, and the exception level in arm64's pstate.
func mode(arch dump.Arch, c *dump.CPU) string {
	var user, ok bool
	var v uint64
	switch arch {
	case dump.ArchX86, dump.ArchX86_64:
		v, ok = c.Register("cs")
		user = v&3 == 3
	case dump.ArchARM64:
		v, ok = c.Register("pstate")
		user = v&0xf == 0
	}
	switch {
	case !ok:
		return ""
	case user:
		return "user"
	}
	return "kernel"
}

// Register is the value of a register, and whether the dump has it.
func (c *CPU) Register(name string) (kernel.Addr, bool) {
	for _, r := range c.Registers {
		if r.Name == name {
			return r.Value, true
		}
	}
	return 0, false
}
