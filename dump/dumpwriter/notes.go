package dumpwriter

import "encoding/binary"

// noteBytes writes all notes one behind the other.
func (c *Config) noteBytes() []byte {
	notes := c.Notes
	if c.VMCoreInfo != "" && !c.NoteApart {
		notes = append(notes[:len(notes):len(notes)], Note{"VMCOREINFO", 0, []byte(c.VMCoreInfo)})
	}
	var out []byte
	for _, n := range notes {
		out = appendNote(out, c.Order, n)
	}
	return out
}

func appendNote(out []byte, order binary.ByteOrder, n Note) []byte {
	pad := func() {
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	out = appendU32(out, order, uint32(len(n.Name)+1))
	out = appendU32(out, order, uint32(len(n.Desc)))
	out = appendU32(out, order, n.Type)
	out = append(out, n.Name...)
	out = append(out, 0)
	pad()
	out = append(out, n.Desc...)
	pad()
	return out
}

// PRStatus makes a NT_PRSTATUS note (Linux include/linux/elfcore.h, struct
// elf_prstatus) of the task pid with the general registers in the order of the
// architecture's elf_gregset_t.
func PRStatus(order binary.ByteOrder, bits int, pid int, regs []uint64) Note {
	s := &structure{order: order, bits: bits, align: 8}
	s.data = make([]byte, 16) // pr_info and pr_cursig
	s.long(0)                 // pr_sigpend
	s.long(0)                 // pr_sighold
	s.u32(uint32(pid))
	s.data = append(s.data, make([]byte, 12)...) // pr_ppid, pr_pgrp, pr_sid
	for range 8 {                                // four times of two longs
		s.long(0)
	}
	for _, r := range regs {
		s.long(r)
	}
	s.u32(0) // pr_fpvalid
	s.pad(bits / 8)
	return Note{"CORE", 1, s.data}
}

// QEMUState makes the note that QEMU adds for an x86 processor (QEMU
// target/i386/arch_dump.c, version 1): general registers rax, rbx, rcx, rdx,
// rsi, rdi, rsp, rbp, r8 to r15, rip, rflags, the control registers cr0 to
// cr4, and kernel_gs_base. The segment registers are zero.
func QEMUState(order binary.ByteOrder, general [18]uint64, control [5]uint64, kernelGS uint64) Note {
	s := &structure{order: order, bits: 64, align: 8}
	s.u32(1)
	s.u32(440)
	for _, r := range general {
		s.u64(r)
	}
	s.data = append(s.data, make([]byte, 10*24)...)
	for _, r := range control {
		s.u64(r)
	}
	s.u64(kernelGS)
	return Note{"QEMU", 0, s.data}
}
