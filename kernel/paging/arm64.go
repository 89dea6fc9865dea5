package paging

import (
	"fmt"
	"iter"
)

// Bits of arm64 descriptors in the VMSAv8-64 format (Arm ARM D8.3;
// arch/arm64/include/asm/pgtable-hwdef.h).
const (
	arm64Valid = 1 << 0
	arm64Table = 1 << 1 // of a table, and of a page on the last level; else a block

	arm64SignBit = 55 // tells the kernel's half from the user's, whatever the top byte is
	arm64Tag     = 0xff << 56
)

// ARM64Format is how an arm64 address space is translated, as TCR_EL1 and the
// kernel's configuration have it.
type ARM64Format struct {
	// PageSize is the granule in bytes: 4096, 16384 or 65536.
	PageSize uint64
	// Bits is the number of bits of a virtual address, 64 - TxSZ: 36, 39, 42,
	// 47, 48 or 52 in Linux.
	Bits uint
	// LPA2 tells that pages of 4 KiB or 16 KiB can have physical addresses of
	// 52 bits (TCR_EL1.DS, since 6.9). Those of 64 KiB always can.
	LPA2 bool
	// User is for the half of user mode (TTBR0_EL1), whose addresses begin
	// with zeros. Those of the kernel begin with ones.
	User bool
}

// ARM64 is an address space of an arm64 kernel. It is safe for use by many
// goroutines.
type ARM64 struct {
	tables tables
	root   uint64
	format ARM64Format
	shift  uint // of a page
	levels []arm64Level
}

type arm64Level struct {
	level
	mask  uint64 // of the index
	block bool   // the level can have blocks
}

// arm64Names are the kernel's names for the levels, by how many there are.
var arm64Names = [][]string{
	1: {"pte"}, 2: {"pgd", "pte"}, 3: {"pgd", "pmd", "pte"}, 4: {"pgd", "pud", "pmd", "pte"}, 5: {"pgd", "p4d", "pud", "pmd", "pte"},
}

// NewARM64 makes the address space whose top table is at physical address root.
// The error tells that the format is none.
func NewARM64(mem Memory, root uint64, format ARM64Format) (*ARM64, error) {
	s := &ARM64{tables: tables{mem: mem}, root: root, format: format}
	switch format.PageSize {
	case 4 << 10:
		s.shift = 12
	case 16 << 10:
		s.shift = 14
	case 64 << 10:
		s.shift = 16
	default:
		return nil, fmt.Errorf("arm64 has no pages of %d bytes", format.PageSize)
	}
	if format.Bits < 25 || format.Bits > 52 {
		return nil, fmt.Errorf("arm64 has no virtual addresses of %d bits", format.Bits)
	}
	each := s.shift - 3 // bits that a full table translates
	n := int((format.Bits - s.shift + each - 1) / each)
	if n > 5 {
		return nil, fmt.Errorf("arm64 has no virtual addresses of %d bits with pages of %d bytes", format.Bits, format.PageSize)
	}
	for i := range n {
		shift := s.shift + uint(n-1-i)*each
		width := min(each, format.Bits-shift)
		s.levels = append(s.levels, arm64Level{level{arm64Names[n][i], shift}, 1<<width - 1, s.hasBlocks(shift)})
	}
	return s, nil
}

// hasBlocks tells whether a level can map memory itself: in 4 KiB tables 2 MiB
// and 1 GiB (512 GiB with LPA2), in 16 KiB tables 32 MiB (64 GiB), in 64 KiB tables
// 512 MiB (4 TiB).
func (s *ARM64) hasBlocks(shift uint) bool {
	switch shift {
	case 21, 30:
		return s.shift == 12
	case 39:
		return s.shift == 12 && s.format.LPA2
	case 25:
		return s.shift == 14
	case 36:
		return s.shift == 14 && s.format.LPA2
	case 29, 42:
		return s.shift == 16
	}
	return false
}

// Translate implements Space. The top byte of an address may be a tag: of any kind
// in user mode, and one that begins with 0xf in the kernel, as KASAN sets it.
// Pointer authentication codes must be removed before.
func (s *ARM64) Translate(virt uint64) (phys, left uint64, err error) {
	if !s.canonical(virt) {
		return 0, 0, &Error{Virt: virt, Kind: ErrNotMapped, Level: s.levels[0].name, Entry: s.root}
	}
	table := s.root
	for i := range s.levels {
		l := &s.levels[i]
		at := table + virt>>l.shift&l.mask*8
		entry, err := s.tables.entry(at)
		switch {
		case err != nil:
			return 0, 0, &Error{Virt: virt, Kind: ErrBadTable, Level: l.name, Entry: at, Err: err}
		case entry&arm64Valid == 0:
			return 0, 0, &Error{Virt: virt, Kind: ErrNotMapped, Level: l.name, Entry: at}
		}
		next, leaf, ok := s.decode(l, entry)
		if !ok {
			return 0, 0, &Error{Virt: virt, Kind: ErrBadTable, Level: l.name, Entry: at}
		}
		if leaf {
			size := uint64(1) << l.shift
			return next&^(size-1) | virt&(size-1), size - virt&(size-1), nil
		}
		table = next
	}
	panic("paging: the last level translates")
}

// decode takes a valid descriptor apart: the physical address in it, and whether
// it maps memory itself. It fails for what the level cannot have.
func (s *ARM64) decode(l *arm64Level, entry uint64) (phys uint64, leaf, ok bool) {
	phys = entry & (1<<48 - 1) &^ (s.format.PageSize - 1)
	switch {
	case s.shift == 16: // FEAT_LPA; reserved, and zero, without
		phys |= entry >> 12 & 0xf << 48
	case s.format.LPA2:
		phys |= entry&(3<<48) | entry>>8&3<<50
	}
	last := l.shift == s.shift
	if entry&arm64Table != 0 {
		return phys, last, true
	}
	return phys, true, l.block
}

func (s *ARM64) canonical(virt uint64) bool {
	high := int64(virt<<8) >> (8 + s.format.Bits) // without the top byte
	if s.format.User {
		return high == 0
	}
	return high == -1 && virt >= 0xf<<60 && virt>>arm64SignBit&1 != 0
}

// maxVisited bounds how many descriptors MapsTo looks at.
const maxVisited = 1 << 22

// MapsTo yields the virtual addresses from one on that are mapped to a physical
// one, ascending. It reads all tables for these, and gives up after 4 million
// descriptors.
func (s *ARM64) MapsTo(phys, from uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		v := visit{s: s, phys: phys, from: from, yield: yield}
		start := uint64(0)
		if !s.format.User {
			start = ^uint64(0) << s.format.Bits
		}
		v.table(s.root, 0, start)
	}
}

type visit struct {
	s     *ARM64
	phys  uint64
	from  uint64
	seen  int
	yield func(uint64) bool
}

// table visits one table, and those below it. It returns false to stop.
func (v *visit) table(at uint64, depth int, virt uint64) bool {
	l := &v.s.levels[depth]
	first := uint64(0)
	if v.from > virt {
		first = (v.from - virt) >> l.shift
	}
	for i := first; i <= l.mask; i++ {
		if v.seen++; v.seen > maxVisited {
			return false
		}
		entry, err := v.s.tables.entry(at + 8*i)
		if err != nil {
			i |= piece/8 - 1 // nothing more in this piece
			continue
		}
		next, leaf, ok := v.s.decode(l, entry)
		if entry&arm64Valid == 0 || !ok {
			continue
		}
		here := virt + i<<l.shift
		if !leaf {
			if !v.table(next, depth+1, here) {
				return false
			}
			continue
		}
		size := uint64(1) << l.shift
		if off := v.phys - next&^(size-1); off < size && here+off >= v.from && !v.yield(here+off) {
			return false
		}
	}
	return true
}
