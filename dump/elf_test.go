package dump_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// elfSegments is a 64-bit core file of segments with these headers; the file
// is as long as their bytes, which count up from 0.
func elfSegments(segs ...[4]uint64) []byte { // offset, paddr, filesz, memsz
	mem := dumpwriter.PageMap{}
	for i := range segs {
		mem[uint64(2*i)] = []byte{}
	}
	var b dumpwriter.Buffer
	if err := dumpwriter.ELF(&b, mem, dumpwriter.Config{}); err != nil {
		panic(err)
	}
	data := b.Bytes()[:16384]
	for i, s := range segs {
		ph := data[64+56*(i+1):]
		for j, at := range []int{8, 24, 32, 40} {
			binary.LittleEndian.PutUint64(ph[at:], s[j])
		}
	}
	for i := 4096; i < len(data); i++ {
		data[i] = byte(i >> 8)
	}
	return data
}

// TestELFOverlap: of segments that overlap the first with bytes in the file
// wins; gaps are missing, p_memsz beyond p_filesz is excluded.
func TestELFOverlap(t *testing.T) {
	img := mustOpen(t, []string{file(t, elfSegments(
		[4]uint64{0x1000, 0x10000, 0x800, 0x1000}, // half of it excluded
		[4]uint64{0x2000, 0x10400, 0x1000, 0x1000},
		[4]uint64{0x3000, 0x30000, 0, 0x2000}, // all excluded, but see the next
		[4]uint64{0x3800, 0x31000, 0x800, 0x800},
		[4]uint64{0x3000, 0x40000, 0x800, 0}, // p_memsz of old kernels
	))})
	for _, test := range []struct {
		addr uint64
		want byte // of the file
		kind error
	}{
		{0x10000, 0x10, nil}, {0x107ff, 0x17, nil},
		{0x10800, 0x24, nil}, {0x113ff, 0x2f, nil},
		{0x11400, 0, dump.ErrMissing}, {0xffff, 0, dump.ErrMissing},
		{0x30000, 0, dump.ErrExcluded}, {0x31000, 0x38, nil}, {0x317ff, 0x3f, nil},
		{0x31800, 0, dump.ErrExcluded}, {0x32000, 0, dump.ErrMissing},
		{0x40000, 0x30, nil}, {0x40800, 0, dump.ErrMissing},
	} {
		var buf [1]byte
		_, err := img.ReadPhys(buf[:], test.addr)
		if !errors.Is(err, test.kind) || err == nil && buf[0] != test.want {
			t.Errorf("%#x: %#x, %v", test.addr, buf[0], err)
		}
	}
	var ranges []dump.Range
	for r := range img.Ranges() {
		ranges = append(ranges, r)
	}
	if want := []dump.Range{{Start: 0x10000, End: 0x11400}, {Start: 0x31000, End: 0x31800}, {Start: 0x40000, End: 0x40800}}; !slices.Equal(ranges, want) {
		t.Errorf("ranges %#x", ranges)
	}
	// A read across segments, and one that ends in a gap.
	buf := make([]byte, 0x2000)
	n, err := img.ReadPhys(buf, 0x10000)
	var re *dump.ReadError
	if n != 0x1400 || !errors.As(err, &re) || re.Addr != 0x11400 || buf[0x7ff] != 0x17 || buf[0x800] != 0x24 {
		t.Errorf("%#x bytes, %v", n, err)
	}
	if view, err := img.ViewPhys(0x107fe, 4); err != nil || !bytes.Equal(view, []byte{0x17, 0x17, 0x24, 0x24}) {
		t.Errorf("% x, %v", view, err)
	}
	if _, err := img.ViewPhys(0x10000, 4097); err == nil {
		t.Error("a view of more than a page")
	}
}

// TestELFLikeQEMU: program headers behind a section header, p_vaddr equal to
// p_paddr, a ROM below 4 GiB, QEMU's notes.
func TestELFLikeQEMU(t *testing.T) {
	mem := testMachine(4096)
	for pfn := uint64(0xfffc0); pfn < 0x100000; pfn++ {
		mem[pfn] = []byte("ROM")
	}
	cfg := testConfig(4096)
	cfg.HeaderAt, cfg.VaddrPaddr, cfg.Align = 192, true, 1
	regs := make([]uint64, 27)
	for i := range regs {
		regs[i] = uint64(100 + i)
	}
	for cpu := range 3 {
		cfg.Notes = append(cfg.Notes, dumpwriter.PRStatus(binary.LittleEndian, 64, cpu+1, regs))
	}
	for cpu := range uint64(3) {
		cfg.Notes = append(cfg.Notes, dumpwriter.QEMUState(binary.LittleEndian, [18]uint64{1}, [5]uint64{0x80050033, 0, 0xdead, 0x1000 * cpu, 0x6f0}, 0xffff888000000000+cpu))
	}
	img := mustOpen(t, []string{file(t, build(t, dumpwriter.ELF, mem, cfg))})
	f := img.Facts()
	if !slices.Contains(f.Variant, "captured by QEMU") || f.MaxPhys != 1<<32 || len(f.CPUs) != 3 {
		t.Fatalf("facts: %+v", f)
	}
	for i, cpu := range f.CPUs {
		for name, want := range map[string]uint64{"r15": 100, "ip": 116, "gs": 126, "cr3": 0x1000 * uint64(i), "kernel_gs_base": 0xffff888000000000 + uint64(i)} {
			if got, ok := cpu.Register(name); !ok || got != want {
				t.Errorf("CPU %d: %s = %#x, %v", i, name, got, ok)
			}
		}
		if _, ok := cpu.Register("cr8"); ok {
			t.Error("a register that is not there")
		}
		if cpu.PID != 0 || cpu.Index != i || cpu.Source != "NT_PRSTATUS" {
			t.Errorf("CPU %d: %+v", i, cpu)
		}
	}
	if v := f.VMCoreInfo; v == nil {
		t.Error("no VMCOREINFO")
	}
	if view, err := img.ViewPhys(0xfffc0000, 3); err != nil || string(view) != "ROM" {
		t.Errorf("%q, %v", view, err)
	}
}

// TestFlattenedGap: of a flattened file that has lost a record, what comes
// before it is read to the last byte.
func TestFlattenedGap(t *testing.T) {
	mem := dumpwriter.PageMap{}
	for pfn := range uint64(100) {
		mem[pfn] = bytes.Repeat([]byte{byte(pfn + 1)}, 4096)
	}
	whole := build(t, dumpwriter.ELF, mem, testConfig(4096))
	const lostAt, lostEnd = 200_001, 220_000 // in the file
	var b bytes.Buffer
	w := dumpwriter.NewFlattener(&b)
	_, err1 := w.WriteAt(whole[:lostAt], 0)
	_, err2 := w.WriteAt(whole[lostEnd:], lostEnd)
	if err := errors.Join(err1, err2, w.Close()); err != nil {
		t.Fatal(err)
	}
	start := uint64(len(whole) - 100*4096) // of memory in the file
	img := mustOpen(t, []string{file(t, b.Bytes())})
	buf := make([]byte, 100*4096)
	n, err := img.ReadPhys(buf, 0)
	var re *dump.ReadError
	if uint64(n) != lostAt-start || !errors.As(err, &re) || re.Addr != uint64(n) || !errors.Is(err, dump.ErrMissing) {
		t.Errorf("%d bytes, %v; want %d", n, err, lostAt-start)
	}
	if !bytes.Equal(buf[:n], whole[start:lostAt]) {
		t.Error("the bytes before the gap differ")
	}
	good, bad := 0, 0
	err = img.Sweep(t.Context(), 1, func(_ int, p dump.Page) error {
		if p.Err != nil {
			bad++
		} else if good++; p.Data[7] != byte(p.Addr>>12+1) {
			t.Errorf("page %#x differs", p.Addr)
		}
		return nil
	})
	if err != nil || bad != int((lostEnd-start-1)/4096-(lostAt-start)/4096+1) || good+bad != 100 {
		t.Errorf("%d pages, %d lost, %v", good, bad, err)
	}
}
