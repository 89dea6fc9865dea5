package paging

// Bits of x86-64 page table entries (Intel SDM volume 3, 4.5;
// arch/x86/include/asm/pgtable_types.h).
const (
	amd64Present  = 1 << 0
	amd64Large    = 1 << 7 // PSE, in pud and pmd entries
	amd64PhysMask = 0x000f_ffff_ffff_f000
)

// level is one level of page tables.
type level struct {
	name  string
	shift uint // the lowest bit of the virtual address that it translates
}

// The levels from the top to the bottom, by the kernel's names. With four
// levels there is no p4d, and the table that is the p4d of five is the pgd.
var (
	fiveLevels = []level{{"pgd", 48}, {"p4d", 39}, {"pud", 30}, {"pmd", 21}, {"pte", 12}}
	fourLevels = []level{{"pgd", 39}, {"pud", 30}, {"pmd", 21}, {"pte", 12}}
)

// AMD64 is an address space of an x86-64 kernel with 4 or 5 levels of page
// tables. It is safe for use by many goroutines.
type AMD64 struct {
	tables tables
	root   uint64
	levels []level
	mask   uint64 // physical address bits of an entry
}

// NewAMD64 makes the address space whose top table is at physical address
// root, with five levels of tables or with four.
// encryption is the memory encryption mask of AMD SME (sme_me_mask), 0 without.
func NewAMD64(mem Memory, root uint64, five bool, encryption uint64) *AMD64 {
	s := &AMD64{tables: tables{mem: mem}, root: root, levels: fourLevels, mask: amd64PhysMask &^ encryption}
	if five {
		s.levels = fiveLevels
	}
	return s
}

// Translate implements Space.
func (s *AMD64) Translate(virt uint64) (phys, left uint64, err error) {
	if !s.canonical(virt) {
		return 0, 0, &Error{Virt: virt, Kind: ErrNotMapped, Level: s.levels[0].name, Entry: s.root}
	}
	table := s.root
	for _, level := range s.levels {
		at := table + virt>>level.shift&511*8
		entry, err := s.tables.entry(at)
		if err != nil {
			return 0, 0, &Error{Virt: virt, Kind: ErrBadTable, Level: level.name, Entry: at, Err: err}
		}
		if entry&amd64Present == 0 {
			return 0, 0, &Error{Virt: virt, Kind: ErrNotMapped, Level: level.name, Entry: at}
		}
		page := entry & s.mask
		if level.shift == 12 || entry&amd64Large != 0 && (level.shift == 21 || level.shift == 30) {
			size := uint64(1) << level.shift
			offset := virt & (size - 1)
			return page&^(size-1) | offset, size - offset, nil
		}
		table = page
	}
	panic("paging: the last level translates")
}

func (s *AMD64) canonical(virt uint64) bool {
	top := s.levels[0].shift + 8 // the sign bit of an address
	high := int64(virt) >> top
	return high == 0 || high == -1
}
