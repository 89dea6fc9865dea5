package paging_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/kmortem/mortem/kernel/paging"
)

// pages is a physical memory of a few pages.
type pages map[uint64][]byte

var errHole = errors.New("no such page")

func (p pages) ReadPhys(buf []byte, addr uint64) (int, error) {
	b, err := p.ViewPhys(addr, len(buf))
	return copy(buf, b), err
}

func (p pages) ViewPhys(addr uint64, n int) ([]byte, error) {
	page, ok := p[addr&^4095]
	if !ok {
		return nil, errHole
	}
	return page[addr&4095:][:n], nil
}

// set writes an entry into the table at a physical address.
func (p pages) set(table, index, entry uint64) {
	if p[table] == nil {
		p[table] = make([]byte, 4096)
	}
	binary.LittleEndian.PutUint64(p[table][index*8:], entry)
}

const (
	present = 1
	large   = 1 << 7
	nx      = 1 << 63
)

// fourLevelTables map, by hand and by the Intel manual's figure 4-8:
//
//	0xffff888000000000 + 1 GiB page → physical 0 (index 273 of the top table)
//	0xffffc90000000000 + 4 KiB page → physical 0x7000 (index 402)
//	0xffffffff81000000 + 2 MiB page → physical 0x1000000 (511, 510, 8)
func fourLevelTables() pages {
	p := pages{}
	p.set(0x1000, 273, 0x2000|present)
	p.set(0x2000, 0, 0|present|large|nx)
	p.set(0x1000, 402, 0x3000|present)
	p.set(0x3000, 0, 0x4000|present)
	p.set(0x4000, 0, 0x5000|present)
	p.set(0x5000, 0, 0x7000|present|nx)
	p.set(0x5000, 2, 0x9000) // not present
	p.set(0x1000, 511, 0x6000|present)
	p.set(0x6000, 510, 0x8000|present)
	p.set(0x8000, 8, 0x1000000|present|large)
	p.set(0x8000, 9, 0xbad000|present) // leads to a table that is not in the dump
	return p
}

func TestAMD64Translate(t *testing.T) {
	four := paging.NewAMD64(fourLevelTables(), 0x1000, false, 0)
	five := pages(fourLevelTables())
	five.set(0xa000, 511, 0x1000|present)
	five.set(0xa000, 0x110, 0x1000|present) // 0xff10… maps what the four-level table maps
	fiveLevels := paging.NewAMD64(five, 0xa000, true, 0)
	encrypted := pages(fourLevelTables())
	encrypted.set(0x5000, 0, 0x7000|1<<51|present)
	sme := paging.NewAMD64(encrypted, 0x1000, false, 1<<51)

	for _, tc := range []struct {
		space      *paging.AMD64
		virt       uint64
		phys, left uint64
	}{
		{four, 0xffff888000000000, 0, 1 << 30},
		{four, 0xffff888012345678, 0x12345678, 1<<30 - 0x12345678},
		{four, 0xffffc90000000abc, 0x7abc, 4096 - 0xabc},
		{four, 0xffffffff81000000, 0x1000000, 1 << 21},
		{four, 0xffffffff811fffff, 0x11fffff, 1},
		{fiveLevels, 0xffffffff81000010, 0x1000010, 1<<21 - 0x10},
		{sme, 0xffffc90000000000, 0x7000, 4096},
	} {
		phys, left, err := tc.space.Translate(tc.virt)
		if err != nil || phys != tc.phys || left != tc.left {
			t.Errorf("Translate(%#x) = %#x, %d, %v; want %#x, %d", tc.virt, phys, left, err, tc.phys, tc.left)
		}
	}
}

func TestAMD64Errors(t *testing.T) {
	four := paging.NewAMD64(fourLevelTables(), 0x1000, false, 0)
	for _, tc := range []struct {
		virt  uint64
		kind  error
		level string
		entry uint64
	}{
		{0, paging.ErrNotMapped, "pgd", 0x1000},
		{0x0000900000000000, paging.ErrNotMapped, "pgd", 0x1000}, // not canonical
		{0xffffc90000002000, paging.ErrNotMapped, "pte", 0x5010},
		{0xffffc90040000000, paging.ErrNotMapped, "pud", 0x3008},
		{0xffffffff81200000, paging.ErrBadTable, "pte", 0xbad000},
	} {
		_, _, err := four.Translate(tc.virt)
		var pe *paging.Error
		if !errors.As(err, &pe) || !errors.Is(err, tc.kind) || pe.Level != tc.level || pe.Entry != tc.entry {
			t.Errorf("Translate(%#x): %v; want %v at the %s entry %#x", tc.virt, err, tc.kind, tc.level, tc.entry)
		}
	}
	if _, _, err := four.Translate(0xffffffff81200000); !errors.Is(err, errHole) {
		t.Errorf("the reason why a table cannot be read is lost: %v", err)
	}
}

func FuzzAMD64(f *testing.F) {
	f.Add([]byte{0x03, 0x20, 0, 0, 0, 0, 0, 0}, uint64(0xffff888000000000), false)
	f.Fuzz(func(t *testing.T, table []byte, virt uint64, five bool) {
		page := make([]byte, 4096)
		for i := range page {
			if len(table) > 0 {
				page[i] = table[i%len(table)]
			}
		}
		s := paging.NewAMD64(pages{0x1000: page, 0x2000: page}, 0x1000, five, 0)
		if _, left, err := s.Translate(virt); err == nil && (left == 0 || left > 1<<30) {
			t.Errorf("left is %d", left)
		}
	})
}

func ExampleAMD64_Translate() {
	memory := fourLevelTables() // in earnest: a dump.Image
	space := paging.NewAMD64(memory, 0x1000, false, 0)
	phys, left, err := space.Translate(0xffffffff81000123)
	fmt.Printf("%#x, %d bytes contiguous, %v\n", phys, left, err)
	// Output: 0x1000123, 2096861 bytes contiguous, <nil>
}
