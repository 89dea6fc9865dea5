package dumpwriter

import (
	"debug/elf"
	"io"
)

// segment is a stretch of memory for one PT_LOAD: pages in the file, and then
// pages that were excluded.
type segment struct {
	first   uint64 // PFN
	present uint64 // pages
	total   uint64 // pages, with the excluded ones
}

// ELF writes a core file like /proc/vmcore: one note segment, and a PT_LOAD for
// each stretch of memory. Excluded pages become the part of a segment that
// p_memsz has over p_filesz, as makedumpfile -E writes them. The layout is that of
// elf(5); errors are those of w and of mem.
func ELF(w io.WriterAt, mem Memory, cfg Config) error {
	c := cfg.withDefaults()
	segs := c.segments(mem)
	notes := c.noteBytes()
	phsize, ehsize, shsize := int64(56), int64(64), int64(64)
	if c.Bits == 32 {
		phsize, ehsize, shsize = 32, 52, 40
	}
	phoff := max(c.HeaderAt, ehsize)
	notesAt := phoff + phsize*int64(len(segs)+1)
	shoff := int64(0)
	if c.ExtendedPH || len(segs)+1 >= 0xffff {
		c.ExtendedPH, shoff = true, notesAt
		notesAt += shsize
	}

	f := &file{w: w}
	f.put(0, c.elfHeader(phoff, shoff, len(segs)+1))
	if shoff != 0 {
		f.put(shoff, c.sectionHeader(len(segs)+1))
	}
	f.put(notesAt, notes)

	ph := newCursor(w, phoff)
	ph.write(c.programHeader(elf.PT_NOTE, notesAt, 0, uint64(len(notes)), uint64(len(notes))))
	at := notesAt + int64(len(notes))
	page := make([]byte, c.PageSize)
	for _, seg := range segs {
		at = roundUp(at, c.Align)
		size := uint64(c.PageSize)
		ph.write(c.programHeader(elf.PT_LOAD, at, seg.first*size, seg.present*size, seg.total*size))
		data := newCursor(w, at)
		for pfn := seg.first; pfn < seg.first+seg.present; pfn++ {
			if err := mem.Read(pfn, page); err != nil {
				return err
			}
			data.write(page)
		}
		if err := data.flush(); err != nil {
			return err
		}
		at = data.at
	}
	if err := ph.flush(); err != nil {
		return err
	}
	return f.err
}

// segments groups the pages.
func (c *Config) segments(mem Memory) []segment {
	var segs []segment
	var cur segment
	end := func() {
		if cur.total > 0 {
			segs = append(segs, cur)
		}
		cur = segment{}
	}
	for pfn := range mem.Pages() {
		state := mem.State(pfn)
		if state == Hole {
			end()
			continue
		}
		if state == Present && cur.total > cur.present || c.MaxSegment > 0 && cur.total >= c.MaxSegment {
			end()
		}
		if cur.total == 0 {
			cur.first = pfn
		}
		cur.total++
		if state == Present {
			cur.present++
		}
	}
	end()
	return segs
}

func (c *Config) elfHeader(phoff, shoff int64, phnum int) []byte {
	s := c.structure()
	class, data := elf.ELFCLASS64, elf.ELFDATA2LSB
	if c.Bits == 32 {
		class = elf.ELFCLASS32
	}
	if c.Order.String() == "BigEndian" {
		data = elf.ELFDATA2MSB
	}
	s.data = append(s.data, elf.ELFMAG...)
	s.data = append(s.data, byte(class), byte(data), byte(elf.EV_CURRENT))
	s.data = append(s.data, make([]byte, 9)...)
	s.u16(uint16(elf.ET_CORE))
	s.u16(uint16(elfMachine(c.Uts.Machine)))
	s.u32(uint32(elf.EV_CURRENT))
	s.long(0)
	s.long(uint64(phoff))
	s.long(uint64(shoff))
	s.u32(0)
	shnum := uint16(0)
	if shoff != 0 {
		phnum, shnum = 0xffff, 1
	}
	if c.Bits == 32 {
		s.u16(52)
		s.u16(32)
	} else {
		s.u16(64)
		s.u16(56)
	}
	s.u16(uint16(phnum))
	s.u16(64)
	s.u16(shnum)
	s.u16(0)
	return s.data
}

// sectionHeader is the first section header, whose sh_info has the number of
// program headers where e_phnum is too small for it.
func (c *Config) sectionHeader(phnum int) []byte {
	s := c.structure()
	s.u32(0)
	s.u32(0)
	for range 4 {
		s.long(0)
	}
	s.u32(0)
	s.u32(uint32(phnum))
	s.long(0)
	s.long(0)
	return s.data
}

func (c *Config) programHeader(kind elf.ProgType, off int64, paddr, filesz, memsz uint64) []byte {
	s := c.structure()
	s.align = 4 // the members are in such an order that none needs padding
	vaddr := paddr + 0xffff888000000000
	if c.VaddrPaddr || kind == elf.PT_NOTE {
		vaddr = paddr
	}
	s.u32(uint32(kind))
	if c.Bits == 32 {
		s.u32(uint32(off))
		s.u32(uint32(vaddr))
		s.u32(uint32(paddr))
		s.u32(uint32(filesz))
		s.u32(uint32(memsz))
		s.u32(uint32(elf.PF_R))
		s.u32(0)
		return s.data
	}
	s.u32(uint32(elf.PF_R))
	for _, v := range []uint64{uint64(off), vaddr, paddr, filesz, memsz, 0} {
		s.u64(v)
	}
	return s.data
}

// elfMachine is the number of a machine by uname -m.
func elfMachine(machine string) elf.Machine {
	switch machine {
	case "x86_64":
		return elf.EM_X86_64
	case "i386", "i486", "i586", "i686":
		return elf.EM_386
	case "aarch64":
		return elf.EM_AARCH64
	case "armv7l":
		return elf.EM_ARM
	case "ppc64", "ppc64le":
		return elf.EM_PPC64
	case "s390x":
		return elf.EM_S390
	case "riscv64":
		return elf.EM_RISCV
	}
	return elf.EM_NONE
}
