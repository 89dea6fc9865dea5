package dump

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// The headers are read here and not by debug/elf, which takes e_phnum at its
// word: a core of more than 65,534 segments keeps their number in sh_info of
// the first section header (elf(5), PN_XNUM).
const pnXNum = 0xffff

// maxSegments bounds the number of program headers that are believed, and with
// it the memory that they take here. The largest numbers known are some tens of
// thousands.
const maxSegments = 1 << 22

// elfHeader is what the reader needs of the file header.
type elfHeader struct {
	fields
	machine elf.Machine
	phoff   int64
	phsize  int64 // of one program header, in bytes
	phnum   int64
}

// segment is one program header.
type segment struct {
	kind   elf.ProgType
	off    uint64 // in the file
	vaddr  uint64
	paddr  uint64
	filesz uint64
	memsz  uint64
}

// readELFHeader reads the file header and refuses what is no core file.
func readELFHeader(s store) (*elfHeader, error) {
	ident, err := s.view(0, elf.EI_NIDENT, nil)
	if err != nil {
		return nil, damaged(s, 0, "the file ends within its ELF header")
	}
	h := &elfHeader{}
	switch elf.Data(ident[elf.EI_DATA]) {
	case elf.ELFDATA2LSB:
		h.order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		h.order = binary.BigEndian
	default:
		return nil, damaged(s, elf.EI_DATA, fmt.Sprintf("the ELF header names an unknown byte order %d", ident[elf.EI_DATA]))
	}
	size := 52
	switch elf.Class(ident[elf.EI_CLASS]) {
	case elf.ELFCLASS64:
		h.is64, size = true, 64
	case elf.ELFCLASS32:
	default:
		return nil, damaged(s, elf.EI_CLASS, fmt.Sprintf("the ELF header names an unknown class %d", ident[elf.EI_CLASS]))
	}
	if h.data, err = s.view(0, size, nil); err != nil {
		return nil, damaged(s, 0, "the file ends within its ELF header")
	}
	if t := elf.Type(h.u16(16)); t != elf.ET_CORE {
		return nil, notACore(s.name(), t)
	}
	h.machine = elf.Machine(h.u16(18))
	return h, h.readTablePlace(s)
}

// readTablePlace finds out where the program headers are, and how many.
func (h *elfHeader) readTablePlace(s store) error {
	phoff, shoff, sizes, want, info := h.long(28), h.long(32), 42, int64(32), 28
	if h.is64 {
		phoff, shoff, sizes, want, info = h.long(32), h.long(40), 54, 56, 44
	}
	h.phsize, h.phnum = int64(h.u16(sizes)), int64(h.u16(sizes+2))
	if h.phnum == pnXNum && shoff != 0 {
		sec := *h
		var err error
		if sec.data, err = s.view(clampOff(shoff), info+4, nil); err != nil {
			return damaged(s, clampOff(shoff), "the number of segments should stand in a section header here, where the file has ended: it is cut short")
		}
		h.phnum = int64(sec.u32(info))
	}
	h.phoff = clampOff(phoff)
	switch {
	case h.phnum > maxSegments:
		return damaged(s, int64(sizes+2), fmt.Sprintf("the ELF header announces %d segments; no machine has so many", h.phnum))
	case h.phnum == 0:
		return damaged(s, int64(sizes+2), "the ELF header announces no segments; a core written by a Xen tool, or not a memory dump")
	case h.phsize < want:
		return damaged(s, int64(sizes), fmt.Sprintf("the ELF header gives %d bytes to a program header, which has %d", h.phsize, want))
	case !inStore(h.phoff, h.phsize*h.phnum, s.size()):
		return damaged(s, h.phoff, fmt.Sprintf("the %d program headers reach past the end of the file (%d bytes): it is cut short", h.phnum, s.size()))
	}
	return nil
}

// clampOff turns an offset of a header into a file offset; one that does not
// fit becomes negative, which no file contains.
func clampOff(off uint64) int64 {
	if off > 1<<62 {
		return -1
	}
	return int64(off)
}

// segments calls fn for every program header. They are read in stretches, so
// that hundreds of thousands of them need no memory.
func (h *elfHeader) segments(s store, fn func(segment)) error {
	const stretch = 1024
	var buf []byte
	for first := int64(0); first < h.phnum; first += stretch {
		n := min(stretch, h.phnum-first)
		data, err := s.view(h.phoff+first*h.phsize, int(n*h.phsize), buf)
		if err != nil {
			return damaged(s, h.phoff+first*h.phsize, "the program headers cannot be read: "+err.Error())
		}
		if !s.mapped() {
			buf = data
		}
		for i := range n {
			fn(h.segment(data[i*h.phsize:]))
		}
	}
	return nil
}

func (h *elfHeader) segment(data []byte) segment {
	f := fields{data, h.order, h.is64}
	p := segment{kind: elf.ProgType(f.u32(0))}
	if h.is64 {
		p.off, p.vaddr, p.paddr = f.u64(8), f.u64(16), f.u64(24)
		p.filesz, p.memsz = f.u64(32), f.u64(40)
	} else {
		p.off, p.vaddr, p.paddr = uint64(f.u32(4)), uint64(f.u32(8)), uint64(f.u32(12))
		p.filesz, p.memsz = uint64(f.u32(16)), uint64(f.u32(20))
	}
	return p
}

// notACore names the ELF files that people hand in instead of the dump.
func notACore(name string, t elf.Type) error {
	what := fmt.Sprintf("an ELF file of type %d", t)
	switch t {
	case elf.ET_EXEC, elf.ET_DYN:
		what = "an ELF executable (a vmlinux?); give the vmcore, and the vmlinux as debug information"
	case elf.ET_REL:
		what = "an ELF object file (a kernel module?); give the vmcore"
	}
	return &FileError{File: name, Offset: -1, Kind: ErrFormat, What: what}
}

// elfArch is the architecture by the machine number of an ELF header.
func elfArch(m elf.Machine) Arch {
	switch m {
	case elf.EM_X86_64:
		return ArchX86_64
	case elf.EM_386:
		return ArchX86
	case elf.EM_ARM:
		return ArchARM
	case elf.EM_AARCH64:
		return ArchARM64
	case elf.EM_PPC64:
		return ArchPPC64
	case elf.EM_S390:
		return ArchS390X
	case elf.EM_RISCV:
		return ArchRISCV64
	}
	return ArchUnknown
}

// damaged is the error of a dump that cannot be opened for what it says at off.
func damaged(s store, off int64, what string) error {
	if off >= 0 {
		off = s.locate(off)
	}
	if cut := flatCut(s); cut != "" {
		what = cut + ": " + what
	}
	return &FileError{File: s.name(), Offset: off, Kind: ErrDamaged, What: what}
}

func isELF(head []byte) bool { return bytes.HasPrefix(head, []byte(elf.ELFMAG)) }
