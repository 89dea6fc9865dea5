package unwind

import (
	"encoding/binary"
	"testing"

	"github.com/kmortem/mortem/kernel/arch/amd64"
)

// debugFrame is a section with one common entry and one for 16 bytes of code at
// 0x1000, with some instructions.
func debugFrame(instructions string) []byte {
	entry := func(body string) []byte {
		for len(body)%8 != 4 {
			body += "\x00"
		}
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...)
	}
	// Version 1, no augmentation, factors 1 and -8, return address in 16; the
	// CFA is rsp+8, and the return address 8 below it.
	b := entry("\xff\xff\xff\xff\x01\x00\x01\x78\x10\x0c\x07\x08\x90\x01")
	fde := "\x00\x00\x00\x00" + string(binary.LittleEndian.AppendUint64(nil, 0x1000)) + string(binary.LittleEndian.AppendUint64(nil, 16))
	return append(b, entry(fde+instructions)...)
}

func TestCFIRules(t *testing.T) {
	// After 1 byte the CFA is rsp+16, and rbx lies 16 below it.
	c, err := parseCFI(debugFrame("\x41\x0e\x10\x83\x02"), loadedAt(0x100000))
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[uint64]int64{0x101000: 8, 0x101001: 16, 0x10100f: 16} {
		r, err := c.rules(addr)
		if err != nil || r.CFA.Reg != uint64(amd64.SP) || r.CFA.Offset != want {
			t.Errorf("%#x: %+v, %v; want an offset of %d", addr, r, err, want)
		}
	}
	if _, err := c.rules(0x101010); err != errNoData {
		t.Errorf("behind the function: %v", err)
	}
}

func FuzzCFI(f *testing.F) {
	f.Add(debugFrame("\x41\x0e\x10\x83\x02"))
	f.Add(debugFrame("\x0b\x0a\x0a\x0f\x05\x77\x08\x06"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCFI(data, loadedAt(0))
		if err != nil {
			return
		}
		for _, e := range c.entries {
			for _, addr := range []uint64{e.Begin(), e.End() - 1, e.Begin() + 1} {
				_, _ = c.rules(addr)
			}
		}
	})
}

func FuzzLocation(f *testing.F) {
	f.Add([]byte("\x91\x10\x06\x9f"), []byte("\x9c"))
	f.Add([]byte("\x53\x93\x04\x93\x04"), []byte{})
	f.Fuzz(func(t *testing.T, expr, base []byte) {
		tr := &Tracer{mem: nothing{}, reg: (amd64.Arch{}).Registers(), runtime: func(_ *Frame, link uint64) (uint64, bool) { return link, true }}
		frame := Frame{CFA: 0x1000}
		frame.Registers.Set(amd64.BX, 1)
		_, _ = tr.Locate(&Trace{Frames: []Frame{frame}}, 0, expr, base)
	})
}

// nothing is memory that cannot be read.
type nothing struct{}

func (nothing) View(uint64, int) ([]byte, error) { return nil, errExcluded }
func (nothing) Read([]byte, uint64) (int, error) { return 0, errExcluded }

// loadedAt is for code that lies at an offset from where it was linked for.
func loadedAt(offset uint64) func(uint64) (uint64, bool) {
	return func(virt uint64) (uint64, bool) { return virt - offset, true }
}
