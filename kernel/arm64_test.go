package kernel_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// arm64Drgn is what drgn says of the arm64 fixture.
type arm64Drgn struct {
	Facts struct {
		Release string            `json:"osrelease"`
		Symbols map[string]string `json:"symbols"`
		Start   string            `json:"memstart"`
		Offset  string            `json:"kimage_voffset"`
	} `json:"facts"`
}

// TestARM64Addresses compares addresses with drgn's: KASLR of the image is undone,
// and memory is where the kernel's own memstart_addr says.
func TestARM64Addresses(t *testing.T) {
	k := kerneltest.ARM64(t)
	var drgn arm64Drgn
	fixtures.Recorded(t, "arm64/drgn.json", &drgn)
	for name, addr := range drgn.Facts.Symbols {
		got, err := k.Symbol(name)
		if err != nil || got != hex(t, addr) {
			t.Errorf("%s is at %#x, %v; drgn: %s", name, got, err, addr)
		}
	}
	const pageOffset = 0xffff000000000000 // PAGE_OFFSET with 48 bits
	if base, ok := k.PageOffset(); !ok || base != pageOffset-hex(t, drgn.Facts.Start) {
		t.Errorf("physical address 0 would be at %#x, %v; memory starts at %s", base, ok, drgn.Facts.Start)
	}
	if k.PageSize() != 4096 || k.Offset() == 0 {
		t.Errorf("pages of %d bytes, offset %#x", k.PageSize(), k.Offset())
	}
	table, _ := k.Symbol("swapper_pg_dir")
	if phys, _, err := k.Translate(table); err != nil || phys != table-hex(t, drgn.Facts.Offset) {
		t.Errorf("the page tables are at physical %#x, %v", phys, err)
	}
}

// without is an image whose headers do not have some of the facts.
type without struct {
	dump.Image
	facts dump.Facts
}

func (w without) Facts() *dump.Facts { return &w.facts }

// TestARM64IsFoundByItsBanner: without VMCOREINFO the kernel is found in memory, at
// the same place, with the same page size and linear mapping.
func TestARM64IsFoundByItsBanner(t *testing.T) {
	image := kerneltest.ARM64Image(t)
	k := kerneltest.ARM64(t)
	w := without{image, *image.Facts()}
	w.facts.VMCoreInfo = nil
	found, err := kernel.Open(w, kerneltest.ARM64Info(t), kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	base1, ok1 := k.PageOffset()
	base2, ok2 := found.PageOffset()
	if found.Offset() != k.Offset() || found.PageSize() != 4096 || !ok1 || !ok2 || base1 != base2 {
		t.Errorf("found at offset %#x with pages of %d, memory at %#x, %v; VMCOREINFO says %#x, %#x", found.Offset(), found.PageSize(), base2, ok2, k.Offset(), base1)
	}
	if _, err := kernel.OpenMemory(w); !errors.Is(err, kernel.ErrNoVMCoreInfo) {
		t.Errorf("without VMCOREINFO and debug information: %v", err)
	}
}

// TestARM64LinearMapping: memory is the same by the linear mapping and by the page
// tables.
func TestARM64LinearMapping(t *testing.T) {
	k := kerneltest.ARM64(t)
	base, _ := k.PageOffset()
	memory, err := kernel.OpenMemory(k.Image()) // does not know the mapping
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for r := range k.Image().Ranges() {
		for phys := r.Start; phys < r.End; phys += 1<<20 - 4096 {
			var a, b [64]byte
			if _, err := memory.Read(a[:], base+phys); err != nil {
				continue // not mapped: reserved
			}
			_, err := k.Read(b[:], base+phys)
			if err != nil || !bytes.Equal(a[:], b[:]) {
				t.Fatalf("physical %#x: %x and %x, %v", phys, a, b, err)
			}
			compared++
		}
	}
	if compared < 50 {
		t.Errorf("%d places were compared", compared)
	}
}

func TestCodeAddress(t *testing.T) {
	k := kerneltest.ARM64(t)
	text, _ := k.Symbol("_stext")
	for pointer, want := range map[uint64]uint64{
		text:                   text,
		text ^ 0x005a<<48:      text, // with an authentication code; bit 55 stays
		text &^ (0xff7f << 48): text,
		0x0000aaaabbbbcccc:     0x0000aaaabbbbcccc, // of user mode
		0:                      0,
	} {
		if got := k.CodeAddress(pointer); got != want {
			t.Errorf("%#x is a pointer to %#x; want %#x", pointer, got, want)
		}
	}
}
