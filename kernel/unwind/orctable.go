package unwind

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/kernel"
)

// orcTable is the unwind data of the kernel image or of a module, in memory and
// sorted by address.
type orcTable struct {
	base    uint64   // virtual address that offsets count from
	offsets []uint32 // of the first instruction of each entry, ascending
	entries []orcEntry
	blocks  []uint32 // for each block of code the first entry that can matter
	shift   uint     // a block has 1<<shift bytes: 256, as the kernel's own index
}

// maxORC bounds a table; the largest kernels have 1.5 million entries.
const maxORC = 16 << 20

// errNoData: a method has nothing to say about an address.
var errNoData = errors.New("no unwind data")

// readORC reads a table of n entries from the dump. Each entry's address is the
// distance from its own place in the table of addresses. Entries that cannot be
// read are marked, and so is the one before a gap in the addresses.
func readORC(k memory, ips, entries uint64, n int) (*orcTable, error) {
	if n <= 0 || n > maxORC {
		return nil, fmt.Errorf("ORC table of %d entries: %w", n, errNoData)
	}
	ipBytes, ipOK := readHoles(k, ips, n*4)
	entryBytes, entryOK := readHoles(k, entries, n*orcEntrySize)
	list := make([]orcAt, 0, n)
	gap := false
	for i := range n {
		if !ipOK(i*4, 4) {
			if !gap && len(list) > 0 {
				list[len(list)-1].bits = orcUnreadable
			}
			gap = true
			continue
		}
		gap = false
		p := orcAt{ip: ips + uint64(4*i) + uint64(int64(int32(binary.LittleEndian.Uint32(ipBytes[4*i:]))))}
		if e := entryBytes[orcEntrySize*i:]; entryOK(i*orcEntrySize, orcEntrySize) {
			p.orcEntry = orcEntry{int16(binary.LittleEndian.Uint16(e)), int16(binary.LittleEndian.Uint16(e[2:])), binary.LittleEndian.Uint16(e[4:])}
		} else {
			p.bits = orcUnreadable
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("ORC table at %#x cannot be read: %w", ips, errNoData)
	}
	return newORCTable(list), nil
}

// orcAt is an entry with the address from which on it holds.
type orcAt struct {
	ip uint64
	orcEntry
}

// newORCTable makes a table of entries. The kernel sorts them when it is built, or when
// it boots; damage unsorts.
func newORCTable(list []orcAt) *orcTable {
	byIP := func(a, b orcAt) int { return cmp.Compare(a.ip, b.ip) }
	if !slices.IsSortedFunc(list, byIP) {
		slices.SortStableFunc(list, byIP)
	}
	t := &orcTable{base: list[0].ip, offsets: make([]uint32, 0, len(list)), entries: make([]orcEntry, 0, len(list))}
	for _, p := range list {
		if p.ip-t.base >= 1<<31 {
			break
		}
		t.offsets = append(t.offsets, uint32(p.ip-t.base))
		t.entries = append(t.entries, p.orcEntry)
	}
	t.index()
	return t
}

// index makes the blocks: no more than a few for each entry, however far damage
// throws addresses apart.
func (t *orcTable) index() {
	last := t.offsets[len(t.offsets)-1]
	for t.shift = 8; int(last>>t.shift) > 4*len(t.offsets)+16; {
		t.shift++
	}
	t.blocks = make([]uint32, last>>t.shift+2)
	at := 0
	for b := range t.blocks {
		for at+1 < len(t.offsets) && uint64(t.offsets[at+1]) <= uint64(b)<<t.shift {
			at++
		}
		t.blocks[b] = uint32(at)
	}
}

// find returns the entry for an address: the last of those that begin at or
// before it.
func (t *orcTable) find(addr uint64) (orcEntry, bool) {
	off := addr - t.base
	if addr < t.base || off >= 1<<31 {
		return orcEntry{}, false
	}
	low, high := 0, len(t.offsets)
	if b := off >> t.shift; b+1 < uint64(len(t.blocks)) {
		low, high = int(t.blocks[b]), int(t.blocks[b+1])+1
	}
	for low < high {
		mid := int(uint(low+high) >> 1)
		if uint64(t.offsets[mid]) <= off {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low == 0 {
		return orcEntry{}, false
	}
	return t.entries[low-1], true
}

// readHoles reads memory page by page, so that one page that the dump has not
// costs no more than that page. The function tells whether a part was read.
func readHoles(k memory, addr uint64, size int) ([]byte, func(off, n int) bool) {
	b := make([]byte, size)
	if _, err := k.Read(b, addr); err == nil {
		return b, func(int, int) bool { return true }
	}
	var bad []span
	for off := 0; off < size; {
		n := min(size-off, int(pageSize-(addr+uint64(off))%pageSize))
		if _, err := k.Read(b[off:off+n], addr+uint64(off)); err != nil {
			bad = append(bad, span{uint64(off), uint64(off + n)})
		}
		off += n
	}
	return b, func(off, n int) bool {
		for _, s := range bad {
			if uint64(off) < s.end && uint64(off+n) > s.start {
				return false
			}
		}
		return true
	}
}

// memory is what tables are read from.
type memory interface {
	Read(buf []byte, virt uint64) (int, error)
}

// imageORC reads the table of the kernel image, between the symbols that the
// linker put around it.
func imageORC(k *kernel.Kernel) (*orcTable, error) {
	var at [4]uint64
	for i, name := range []string{"__start_orc_unwind_ip", "__stop_orc_unwind_ip", "__start_orc_unwind", "__stop_orc_unwind"} {
		addr, err := k.Symbol(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNoData, err)
		}
		at[i] = addr
	}
	n := (at[1] - at[0]) / 4
	if at[1] < at[0] || n > maxORC || (at[3]-at[2])/orcEntrySize != n {
		return nil, fmt.Errorf("%d ORC addresses and %d entries: %w", n, (at[3]-at[2])/orcEntrySize, errNoData)
	}
	return readORC(k, at[0], at[2], int(n))
}
