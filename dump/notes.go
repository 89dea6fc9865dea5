package dump

import (
	"bytes"
	"fmt"
)

// note is one entry of an ELF note segment (elf(5), Elf64_Nhdr): kdump files
// carry the same notes in a stretch of their own.
type note struct {
	name string
	kind uint32
	desc []byte
}

// The types of notes that are read here.
const (
	ntPRSTATUS = 1 // name "CORE"; Linux include/uapi/linux/elf.h
	ntQEMU     = 0 // name "QEMU"; QEMU target/i386/arch_dump.c
)

// Bounds on what notes may make us hold, far beyond what any machine has: its
// notes take a kilobyte for each processor, of which Linux knows 8,192 at most,
// and VMCOREINFO has a few pages.
const (
	maxNoteBytes  = 64 << 20
	maxCPUs       = 1 << 16
	maxInfoBytes  = 1 << 20
	maxWarnings   = 100
	warningsEnded = "there is more that is wrong with the files"
)

// parseNotes calls fn for each note in data. It stops at the first note that
// reaches past the end and says so. Zeros between notes, with which old kernels
// pad, are passed over; no note of a dump is without a name.
func parseNotes(data []byte, f fields, fn func(note)) error {
	f.data = data
	for off := 0; off+12 <= len(data); {
		nameSize, descSize, kind := uint64(f.u32(off)), uint64(f.u32(off+4)), f.u32(off+8)
		if nameSize == 0 {
			off += 4
			continue
		}
		nameAt := uint64(off) + 12
		descAt := nameAt + (nameSize+3)&^3
		end := descAt + descSize
		if end > uint64(len(data)) {
			return fmt.Errorf("the note at offset %#x of %d bytes of notes reaches past their end", off, len(data))
		}
		name := data[nameAt : nameAt+nameSize]
		fn(note{string(bytes.TrimRight(name, "\x00")), kind, data[descAt:end]})
		off = int(min((end+3)&^3, uint64(len(data))))
	}
	return nil
}

// takeNotes fills in what the notes tell about the machine.
func (f *Facts) takeNotes(data []byte) {
	machine := fields{order: f.ByteOrder, is64: f.Is64}
	var qemu []CPU
	err := parseNotes(data, machine, func(n note) {
		switch {
		case n.name == "VMCOREINFO":
			f.takeVMCoreInfo(n.desc, "a note")
		case len(f.CPUs) >= maxCPUs:
		case n.name == "CORE" && n.kind == ntPRSTATUS:
			cpu := parsePRStatus(n.desc, f.Arch, machine)
			cpu.Index = len(f.CPUs)
			f.CPUs = append(f.CPUs, cpu)
		case n.name == "QEMU" && n.kind == ntQEMU:
			f.qemuNotes = true
			if cpu, ok := parseQEMUState(n.desc, f.Arch, machine); ok {
				cpu.Index = len(qemu)
				qemu = append(qemu, cpu)
			}
		case n.name == "VMCOREINFO_XEN" || n.name == "Xen":
			f.xen = true
		}
	})
	if err != nil {
		f.warn("the notes are damaged: %v", err)
	}
	f.mergeQEMU(qemu)
}

// ParsePRStatus reads the registers of a processor from the NT_PRSTATUS note that
// data begin with: as the kernel keeps them in memory for the dump that it does
// not write itself (crash_notes). It is false for anything else.
func (f *Facts) ParsePRStatus(data []byte) (cpu CPU, ok bool) {
	if f.ByteOrder == nil {
		return CPU{}, false
	}
	machine := fields{order: f.ByteOrder, is64: f.Is64}
	first := true
	_ = parseNotes(data, machine, func(n note) { // what follows the first one may be anything
		if first && n.name == "CORE" && n.kind == ntPRSTATUS {
			cpu = parsePRStatus(n.desc, f.Arch, machine)
			ok = len(cpu.General) > 0
		}
		first = false
	})
	return cpu, ok
}

// takeVMCoreInfo keeps the first VMCOREINFO that is found, and says so when
// another one says something else.
func (f *Facts) takeVMCoreInfo(text []byte, where string) {
	if len(text) > maxInfoBytes {
		f.warn("the VMCOREINFO in %s claims %d bytes; only its beginning is read", where, len(text))
		text = text[:maxInfoBytes]
	}
	v := ParseVMCoreInfo(text)
	switch {
	case len(v.keys) == 0:
		f.warn("the VMCOREINFO in %s is empty", where)
	case f.VMCoreInfo == nil:
		f.VMCoreInfo = v
	case f.VMCoreInfo.Raw != v.Raw:
		f.warn("the VMCOREINFO in %s differs from the one found before it, which is used", where)
	}
}

// mergeQEMU adds the control registers of QEMU's notes to the processors that
// have the same place in the sequence. QEMU writes one note of each kind for
// every processor, in the same order (dump.c, write_elf64_notes).
func (f *Facts) mergeQEMU(qemu []CPU) {
	for i, q := range qemu {
		if i >= len(f.CPUs) {
			f.CPUs = append(f.CPUs, q)
			continue
		}
		f.CPUs[i].Control = q.Control
		if len(f.CPUs[i].General) == 0 {
			f.CPUs[i].General = q.General
		}
	}
}

// dropCPUNumbers forgets what stands in the place of a pid in the dumps that a
// hypervisor takes: QEMU writes the processor's number there, plus one on x86
// (target/i386/arch_dump.c, target/arm/arch_dump.c).
func (f *Facts) dropCPUNumbers() {
	numbers := f.qemuNotes || f.byQEMU
	if !numbers && len(f.CPUs) > 1 {
		numbers = true
		for i, cpu := range f.CPUs {
			numbers = numbers && cpu.PID == i
		}
	}
	for i := range f.CPUs {
		if numbers {
			f.CPUs[i].PID = 0
		}
	}
}

func (f *Facts) warn(format string, args ...any) {
	switch n := len(f.Warnings); {
	case n < maxWarnings:
		f.Warnings = append(f.Warnings, fmt.Sprintf(format, args...))
	case n == maxWarnings:
		f.Warnings = append(f.Warnings, warningsEnded)
	}
}
