package elffile

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// layoutStart is the made-up address of the first section of an object file.
const layoutStart = 0x1000

// layOut gives the sections of an object file, which are linked at 0 all of
// them, addresses of their own, one behind the other, so that an address says
// which section it is in.
func (f *File) layOut() {
	f.addrs = make([]uint64, len(f.elf.Sections))
	if !f.Relocatable() {
		for i, s := range f.elf.Sections {
			f.addrs[i] = s.Addr
		}
		return
	}
	at := uint64(layoutStart)
	for i, s := range f.elf.Sections {
		if s.Flags&elf.SHF_ALLOC == 0 {
			continue
		}
		align := uint64(64)
		if s.Addralign > align && s.Addralign&(s.Addralign-1) == 0 && s.Addralign <= 1<<20 {
			align = s.Addralign
		}
		at = (at + align - 1) &^ (align - 1)
		f.addrs[i] = at
		at += min(s.Size, 1<<32)
	}
}

// Loaded are the sections that are in memory when the file is loaded, with
// their addresses.
func (f *File) Loaded() []elf.SectionHeader {
	var list []elf.SectionHeader
	for i, s := range f.elf.Sections {
		if s.Flags&elf.SHF_ALLOC != 0 {
			h := s.SectionHeader
			h.Addr = f.addrs[i]
			list = append(list, h)
		}
	}
	return list
}

// relocationsFor returns the index of the section that holds the relocations
// of section i, or -1.
func (f *File) relocationsFor(i int) int {
	for j, s := range f.elf.Sections {
		if s.Type == elf.SHT_RELA && s.Info == uint32(i) {
			return j
		}
	}
	return -1
}

// relocate applies the relocations of section index relocs to data.
func (f *File) relocate(data []byte, relocs int) error {
	rs := f.elf.Sections[relocs]
	entries, err := f.raw(rs)
	if err != nil {
		return err
	}
	if !f.Is64() || rs.Flags&elf.SHF_COMPRESSED != 0 {
		return fmt.Errorf("%s: relocations in %s: only plain 64-bit ones are supported", f.path, rs.Name)
	}
	if int(rs.Link) >= len(f.elf.Sections) {
		return fmt.Errorf("%s: relocations in %s: no symbol table %d", f.path, rs.Name, rs.Link)
	}
	symbols, err := f.raw(f.elf.Sections[rs.Link])
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	for at := 0; at+24 <= len(entries); at += 24 {
		offset, info, addend := le.Uint64(entries[at:]), le.Uint64(entries[at+8:]), le.Uint64(entries[at+16:])
		width := relocationWidth(f.elf.Machine, uint32(info))
		if width == 0 {
			continue
		}
		if offset > uint64(len(data)) || uint64(len(data))-offset < uint64(width) {
			return fmt.Errorf("%s: relocation at %#x of %s is for offset %#x, outside the section", f.path, at, rs.Name, offset)
		}
		value, ok := f.symbolValue(symbols, info>>32)
		if !ok {
			return fmt.Errorf("%s: relocation at %#x of %s: no symbol %d", f.path, at, rs.Name, info>>32)
		}
		if width == 8 {
			le.PutUint64(data[offset:], value+addend)
		} else {
			le.PutUint32(data[offset:], uint32(value+addend))
		}
	}
	return nil
}

// symbolValue is a symbol's address in an object file.
func (f *File) symbolValue(symbols []byte, i uint64) (uint64, bool) {
	if i >= uint64(len(symbols))/symbolSize {
		return 0, false
	}
	sym := symbols[i*symbolSize:]
	return f.placed(elf.SectionIndex(binary.LittleEndian.Uint16(sym[6:])), binary.LittleEndian.Uint64(sym[8:])), true
}

// placed is the address of a symbol: in object files its value counts from the
// start of its section.
func (f *File) placed(section elf.SectionIndex, value uint64) uint64 {
	if f.Relocatable() && int(section) < len(f.addrs) {
		return value + f.addrs[section]
	}
	return value
}

// relocationWidth is the number of bytes that a kind of relocation as found in
// debug sections writes: symbol plus addend, absolute. 0 stands for the kinds
// that do nothing or make no sense there.
func relocationWidth(m elf.Machine, kind uint32) int {
	switch m {
	case elf.EM_X86_64:
		switch elf.R_X86_64(kind) {
		case elf.R_X86_64_64:
			return 8
		case elf.R_X86_64_32, elf.R_X86_64_32S:
			return 4
		}
	case elf.EM_AARCH64:
		switch elf.R_AARCH64(kind) {
		case elf.R_AARCH64_ABS64:
			return 8
		case elf.R_AARCH64_ABS32:
			return 4
		}
	}
	return 0
}
