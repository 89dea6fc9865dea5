package paging_test

import (
	"encoding/binary"
	"errors"
	"fmt"

	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kmortem/mortem/kernel/paging"
)

// arm64Formats are those that Linux can be built for (arch/arm64/Kconfig), with the
// number of levels that it documents for each (Documentation/arch/arm64/memory.rst).
var arm64Formats = []struct {
	paging.ARM64Format
	levels int
}{
	{paging.ARM64Format{PageSize: 4 << 10, Bits: 39}, 3},
	{paging.ARM64Format{PageSize: 4 << 10, Bits: 48}, 4},
	{paging.ARM64Format{PageSize: 4 << 10, Bits: 52, LPA2: true}, 5},
	{paging.ARM64Format{PageSize: 16 << 10, Bits: 36}, 2},
	{paging.ARM64Format{PageSize: 16 << 10, Bits: 47}, 3},
	{paging.ARM64Format{PageSize: 16 << 10, Bits: 48}, 4},
	{paging.ARM64Format{PageSize: 16 << 10, Bits: 52, LPA2: true}, 4},
	{paging.ARM64Format{PageSize: 64 << 10, Bits: 42}, 2},
	{paging.ARM64Format{PageSize: 64 << 10, Bits: 48}, 3},
	{paging.ARM64Format{PageSize: 64 << 10, Bits: 52}, 3},
}

// arm64Builder makes page tables the way the manual draws them: sizes are
// multiplied up from the page, where the reader shifts down from the top.
type arm64Builder struct {
	paging.ARM64Format
	levels int
	mem    pages
	free   uint64 // where the next table is made
	root   uint64
	made   map[uint64]uint64 // the tables by their descriptors
	rand   *rand.Rand
}

func newARM64Builder(f paging.ARM64Format, levels int, seed uint64) *arm64Builder {
	b := &arm64Builder{ARM64Format: f, levels: levels, mem: pages{}, made: map[uint64]uint64{}, rand: rand.New(rand.NewPCG(seed, 1))}
	b.free = 16 * f.PageSize
	if f.LPA2 || f.PageSize == 64<<10 {
		b.free += 1 << 51 // tables can lie above 48 bits too
	}
	b.root = b.table()
	return b
}

func (b *arm64Builder) table() uint64 {
	at := b.free
	b.free += b.PageSize
	for off := uint64(0); off < b.PageSize; off += 4096 {
		b.mem[at+off] = make([]byte, 4096)
	}
	return at
}

// span is how much an entry maps of a table that is a number of steps above the
// last one.
func (b *arm64Builder) span(above int) uint64 {
	size := b.PageSize
	for range above {
		size *= b.PageSize / 8
	}
	return size
}

// address puts a physical address into a descriptor (Arm ARM, figures D8-12 to
// D8-16).
func (b *arm64Builder) address(phys uint64) uint64 {
	low, high := phys%(1<<48), phys>>48
	switch {
	case b.PageSize == 64<<10:
		return low + high<<12
	case b.LPA2:
		return phys%(1<<50) + phys>>50<<8
	}
	return low
}

func (b *arm64Builder) put(at, entry uint64) {
	binary.LittleEndian.PutUint64(b.mem[at&^4095][at&4095:], entry)
}

func (b *arm64Builder) get(at uint64) uint64 {
	return binary.LittleEndian.Uint64(b.mem[at&^4095][at&4095:])
}

// attributes are random bits in fields that are no address: software's, PBHA,
// access flag, permissions, the contiguous hint and so on.
func (b *arm64Builder) attributes() uint64 {
	mask := uint64(0x07f8_0000_0000_0000|1<<52|1<<55|1<<56) &^ (3 << 48)
	mask |= 1<<10 | 1<<11 | 0xfc&^0x300
	if !b.LPA2 {
		mask |= 3 << 8 // shareability
	}
	return b.rand.Uint64() & mask
}

// mapAt maps one block or page, which is a number of steps above the last level.
func (b *arm64Builder) mapAt(virt, phys uint64, above int) bool {
	offset := virt // from the start of this half of the address space
	if !b.User {
		offset = virt - (-(uint64(1) << b.Bits))
	}
	table := b.root
	for step := b.levels - 1; ; step-- {
		at := table + offset/b.span(step)*8
		offset %= b.span(step)
		old := b.get(at)
		switch {
		case step == above && old != 0:
			return false
		case step == above && above == 0:
			b.put(at, b.address(phys)|b.attributes()|3)
			return true
		case step == above:
			b.put(at, b.address(phys)|b.attributes()|1)
			return true
		case old == 0:
			table = b.table()
			entry := b.address(table) | 3 | b.rand.Uint64()&(0x1f<<59)
			b.put(at, entry)
			b.made[entry] = table
		case old&3 == 1:
			return false // a block is here
		default:
			table = b.made[old]
		}
	}
}

// blockSteps are the levels that can have blocks (Arm ARM D8.3.1): 2 MiB and 1 GiB,
// 32 MiB, 512 MiB, and one size more with 52 bits.
func (b *arm64Builder) blockSteps() []int {
	switch {
	case b.PageSize == 4<<10 && b.LPA2:
		return []int{0, 1, 2, 3}
	case b.PageSize == 4<<10:
		return []int{0, 1, 2}
	case b.PageSize == 16<<10 && !b.LPA2:
		return []int{0, 1}
	}
	return []int{0, 1, 2}
}

func TestARM64Translate(t *testing.T) {
	for _, f := range arm64Formats {
		for _, user := range []bool{false, true} {
			f.User = user
			t.Run(fmt.Sprintf("%dk/%d/user=%v", f.PageSize>>10, f.Bits, user), func(t *testing.T) {
				testARM64(t, f.ARM64Format, f.levels)
			})
		}
	}
}

type mapping struct{ virt, phys, size uint64 }

func testARM64(t *testing.T, f paging.ARM64Format, levels int) {
	b := newARM64Builder(f, levels, f.PageSize+uint64(f.Bits))
	space, err := paging.NewARM64(b.mem, b.root, f)
	if err != nil {
		t.Fatal(err)
	}
	physBits := uint(48)
	if f.LPA2 || f.PageSize == 64<<10 {
		physBits = 52
	}
	start := uint64(0)
	if !f.User {
		start = -(uint64(1) << f.Bits)
	}
	var made []mapping
	for range 60 {
		steps := b.blockSteps()
		above := steps[b.rand.IntN(len(steps))]
		if above >= levels || b.span(above) >= 1<<f.Bits {
			continue
		}
		m := mapping{size: b.span(above)}
		m.virt = start + b.rand.Uint64N(1<<f.Bits)&^(m.size-1)
		m.phys = b.rand.Uint64N(1<<physBits) &^ (m.size - 1)
		if b.mapAt(m.virt, m.phys, above) {
			made = append(made, m)
		}
	}
	if len(made) < 20 {
		t.Fatalf("only %d mappings were made", len(made))
	}
	for i, m := range made {
		for _, off := range []uint64{0, 1, b.rand.Uint64N(m.size), m.size - 1} {
			phys, left, err := space.Translate(m.virt + off)
			if err != nil || phys != m.phys+off || left != m.size-off {
				t.Fatalf("%#x: %#x, %#x left, %v; want %#x, %#x left", m.virt+off, phys, left, err, m.phys+off, m.size-off)
			}
		}
		tagged := m.virt ^ 0x0b<<56
		if phys, _, err := space.Translate(tagged); err != nil || phys != m.phys {
			t.Errorf("with a tag, %#x: %#x, %v", tagged, phys, err)
		}
		if i >= 2 {
			continue
		}
		found := false
		for virt := range space.MapsTo(m.phys+5, m.virt-b.PageSize) {
			found = found || virt == m.virt+5
		}
		if !found {
			t.Errorf("nothing is found to map to %#x, but %#x does", m.phys+5, m.virt+5)
		}
	}
	for range 200 {
		virt := start + b.rand.Uint64N(1<<f.Bits)
		if slices.ContainsFunc(made, func(m mapping) bool { return virt-m.virt < m.size }) {
			continue
		}
		if phys, _, err := space.Translate(virt); !errors.Is(err, paging.ErrNotMapped) {
			t.Fatalf("%#x is not mapped, and translates to %#x, %v", virt, phys, err)
		}
	}
	if _, _, err := space.Translate(^start); !errors.Is(err, paging.ErrNotMapped) {
		t.Errorf("an address of the other half: %v", err)
	}
}

func TestARM64Errors(t *testing.T) {
	b := newARM64Builder(paging.ARM64Format{PageSize: 4096, Bits: 48}, 4, 7)
	b.mapAt(0xffff800008000000, 0x40200000, 1)
	b.put(b.root+0x1a0*8, 0x7000000|3)  // to a table that is not there
	b.put(b.root+0x1a1*8, 0x40000000|1) // a block of 512 GiB, which the format has not
	b.put(b.root+0x1a2*8, 0x40000000|2) // not valid
	space, err := paging.NewARM64(b.mem, b.root, b.ARM64Format)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		virt  uint64
		kind  error
		level string
	}{
		{0, paging.ErrNotMapped, "pgd"},
		{0x0000800000000000, paging.ErrNotMapped, "pgd"},
		{0x00ff800008000000, paging.ErrNotMapped, "pgd"}, // has no code of KASAN
		{0xffff000000000000, paging.ErrNotMapped, "pgd"},
		{0xffff800048000000, paging.ErrNotMapped, "pud"},
		{0xffff800008200000, paging.ErrNotMapped, "pmd"},
	} {
		_, _, err := space.Translate(tc.virt)
		var pe *paging.Error
		if !errors.As(err, &pe) || !errors.Is(err, tc.kind) || pe.Level != tc.level {
			t.Errorf("%#x: %v; want %v in the %s", tc.virt, err, tc.kind, tc.level)
		}
	}
	for index, want := range map[uint64]error{0x1a0: paging.ErrBadTable, 0x1a1: paging.ErrBadTable, 0x1a2: paging.ErrNotMapped} {
		if _, _, err := space.Translate(0xffff<<48 | index<<39); !errors.Is(err, want) {
			t.Errorf("entry %#x: %v; want %v", index, err, want)
		}
	}
	for _, f := range []paging.ARM64Format{{PageSize: 8192, Bits: 48}, {PageSize: 4096, Bits: 53}, {PageSize: 4096, Bits: 12}, {}} {
		if _, err := paging.NewARM64(b.mem, b.root, f); err == nil {
			t.Errorf("%+v is a format", f)
		}
	}
}

func FuzzARM64(f *testing.F) {
	f.Add([]byte{0x03, 0x20, 0, 0, 0, 0, 0, 0}, uint64(0xffff800008000000), uint8(1))
	f.Add([]byte{0x01, 0x00, 0, 0x40, 0, 0, 0, 0}, uint64(0x1000), uint8(13))
	f.Fuzz(func(t *testing.T, table []byte, virt uint64, kind uint8) {
		if len(table) == 0 {
			return
		}
		page := make([]byte, 4096)
		for i := range page {
			page[i] = table[i%len(table)]
		}
		format := arm64Formats[int(kind>>1)%len(arm64Formats)].ARM64Format
		format.User = kind&1 != 0
		mem := pages{}
		for _, at := range []uint64{0, 0x1000, 0x2000, 0x3000, 0x10000} {
			mem[at] = page
		}
		s, err := paging.NewARM64(mem, 0x10000, format)
		if err != nil {
			t.Fatal(err)
		}
		phys, left, err := s.Translate(virt)
		if err == nil && (left == 0 || left > 1<<42 || phys>>52 != 0) {
			t.Errorf("%#x: %#x, %#x left", virt, phys, left)
		}
		for range s.MapsTo(phys, virt) {
			break
		}
	})
}

func ExampleNewARM64() {
	b := newARM64Builder(paging.ARM64Format{PageSize: 16 << 10, Bits: 47}, 3, 1)
	b.mapAt(0xffffc00008000000, 0x40000000, 1)
	memory := b.mem // in earnest: a dump.Image
	space, err := paging.NewARM64(memory, b.root, b.ARM64Format)
	if err != nil {
		panic(err)
	}
	phys, left, err := space.Translate(0xffffc00008000123)
	fmt.Printf("%#x, %d bytes contiguous, %v\n", phys, left, err)
	fmt.Printf("%#x\n", slices.Collect(space.MapsTo(0x40000000, 0xffff<<48)))
	// Output:
	// 0x40000123, 33554141 bytes contiguous, <nil>
	// [0xffffc00008000000]
}
