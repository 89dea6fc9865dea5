package dump_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// wholeMachine is testMachine without excluded pages, which raw images do not
// know.
func wholeMachine(pageSize int) dumpwriter.PageMap {
	m := testMachine(pageSize)
	for pfn, page := range m {
		if page == nil {
			delete(m, pfn)
		}
	}
	return m
}

// openAll opens a file in each of the ways to read one.
func openAll(t *testing.T, path string, check func(t *testing.T, img dump.Image), opts ...dump.Option) {
	t.Helper()
	for _, more := range [][]dump.Option{nil, {dump.WithoutMapping()}, {dump.WithCache(1)}} {
		check(t, mustOpen(t, []string{path}, append(more, opts...)...))
	}
}

// wantRaw checks the memory of a raw image and the facts that all have.
func wantRaw(t *testing.T, img dump.Image, mem dumpwriter.PageMap, format dump.Format) {
	t.Helper()
	f := img.Facts()
	if f.Format != format || f.PageSize != 4096 || f.MaxPhys != mem.Pages()*4096 {
		t.Errorf("format %q, page size %d, memory to %#x", f.Format, f.PageSize, f.MaxPhys)
	}
	if f.Incomplete || len(f.Warnings) > 0 {
		t.Errorf("incomplete %v, warnings %q", f.Incomplete, f.Warnings)
	}
	checkMemory(t, img, mem, 4096)
}

func TestLiME(t *testing.T) {
	mem := wholeMachine(4096)
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		cfg := testConfig(4096)
		cfg.Order = order
		openAll(t, file(t, build(t, dumpwriter.LiME, mem, cfg)), func(t *testing.T, img dump.Image) {
			wantRaw(t, img, mem, dump.FormatLiME)
			if got := img.Facts().ByteOrder; got != order {
				t.Errorf("byte order %v, want %v", got, order)
			}
		})
	}
}

func TestAVML(t *testing.T) {
	mem := wholeMachine(4096)
	for _, page := range mem {
		page[0] |= 1 // no block of zeros, which avml leaves out
	}
	for _, block := range []uint64{0, 1, 5, 16, 64} {
		cfg := testConfig(4096)
		cfg.MaxSegment = block
		openAll(t, file(t, build(t, dumpwriter.AVML, mem, cfg)), func(t *testing.T, img dump.Image) {
			wantRaw(t, img, mem, dump.FormatAVML)
		})
	}
}

// TestAVMLZeros reads an image whose blocks of zeros were left out.
func TestAVMLZeros(t *testing.T) {
	mem := wholeMachine(4096)
	cfg := testConfig(4096)
	cfg.MaxSegment = 1
	data := build(t, dumpwriter.AVML, mem, cfg)
	for pfn, page := range mem {
		if len(bytes.TrimLeft(page, "\x00")) == 0 {
			delete(mem, pfn)
		}
	}
	wantRaw(t, mustOpen(t, []string{file(t, data)}), mem, dump.FormatAVML)
}

// TestAVMLUneven reads a block whose chunks and bounds ignore pages, as no
// known avml makes them, framed by somebody else's code.
func TestAVMLUneven(t *testing.T) {
	const start, size = 0x12345, 300<<10 + 17
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(i * i >> 9)
	}
	var stream bytes.Buffer
	w := snappy.NewBufferedWriter(&stream)
	for at := 0; at < size; at += 10001 {
		w.Write(want[at:min(size, at+10001)])
		w.Flush()
	}
	w.Close()
	data := []byte("AVML\x02\x00\x00\x00")
	for _, v := range []uint64{start, start + size - 1, 0} {
		data = binary.LittleEndian.AppendUint64(data, v)
	}
	data = append(data, stream.Bytes()...)
	data = binary.LittleEndian.AppendUint64(data, uint64(stream.Len()))

	img := mustOpen(t, []string{file(t, data)})
	got := make([]byte, size)
	if n, err := img.ReadPhys(got, start); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d: %v", n, err)
	}
	first, end := uint64(start)/4096, uint64(start+size-1)/4096+1
	if st, err := dump.Verify(t.Context(), img, dump.VerifyOptions{Workers: 2}); err != nil || st.Present != end-first || st.Missing+st.Damaged > 0 {
		t.Fatalf("verified: %+v, %v", st, err)
	}
	if view, err := img.ViewPhys(start+10000, 100); err != nil || !bytes.Equal(view, want[10000:10100]) {
		t.Fatalf("a view of two chunks: %v", err)
	}
	clear(got)
	if err := img.Sweep(t.Context(), 1, func(_ int, p dump.Page) error {
		copy(got[p.Addr-start:], p.Data)
		return p.Err
	}); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("swept: %v", err)
	}
}

func TestRaw(t *testing.T) {
	mem := dumpwriter.PageMap{}
	var data []byte
	for pfn := range uint64(64) {
		mem[pfn+256] = bytes.Repeat([]byte{byte(pfn)}, 4096)
		data = append(data, mem[pfn+256]...)
	}
	path := file(t, data)
	if _, err := dump.Open([]string{path}); !errors.Is(err, dump.ErrFormat) {
		t.Errorf("without the option: %v", err)
	}
	openAll(t, path, func(t *testing.T, img dump.Image) {
		wantRaw(t, img, mem, dump.FormatRaw)
	}, dump.WithRawMemory(256*4096))
}

var vmCPUs = []dumpwriter.VMwareCPU{
	{General: [16]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, RIP: 0xffffffff81000010, Flags: 0x246, CR: [5]uint64{0x80050033, 0, 0, 0x1234000, 0x6f0}},
	{RIP: 0xffffffff81000020, Flags: 0x86, CR: [5]uint64{0x80050033, 0, 0, 0x5678000, 0x6f0}},
}

// vmFiles writes a VMware machine into a directory and returns the path
// without the extension. The memory is in the state file if that is asked for.
func vmFiles(t *testing.T, mem dumpwriter.Memory, ext string, inside, blocks bool) string {
	t.Helper()
	stem := filepath.Join(t.TempDir(), "machine")
	var state, vmem dumpwriter.Buffer
	second := &vmem
	if inside {
		second = nil
	}
	var err error
	if inside {
		err = dumpwriter.VMware(&state, nil, mem, vmCPUs, blocks, testConfig(4096))
	} else {
		err = dumpwriter.VMware(&state, second, mem, vmCPUs, blocks, testConfig(4096))
		put(t, stem+".vmem", vmem.Bytes())
	}
	if err != nil {
		t.Fatal(err)
	}
	put(t, stem+ext, state.Bytes())
	return stem
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVMware(t *testing.T) {
	mem := wholeMachine(4096)
	for _, c := range []struct {
		name           string
		ext            string
		inside, blocks bool
		open           []string // extensions of the files to name
	}{
		{"memory beside, named", ".vmss", false, false, []string{".vmem"}},
		{"memory beside, state named", ".vmss", false, true, []string{".vmss"}},
		{"snapshot", ".vmsn", false, true, []string{".vmem"}},
		{"both", ".vmsn", false, false, []string{".vmem", ".vmsn"}},
		{"both, other order", ".vmsn", false, false, []string{".vmsn", ".vmem"}},
		{"memory inside", ".vmss", true, false, []string{".vmss"}},
		{"memory inside, blocks", ".vmsn", true, true, []string{".vmsn"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stem := vmFiles(t, mem, c.ext, c.inside, c.blocks)
			var paths []string
			for _, ext := range c.open {
				paths = append(paths, stem+ext)
			}
			img := mustOpen(t, paths)
			wantRaw(t, img, mem, dump.FormatVMware)
			checkVMwareCPUs(t, img.Facts())
		})
	}
}

func checkVMwareCPUs(t *testing.T, f *dump.Facts) {
	t.Helper()
	if len(f.CPUs) != 2 {
		t.Fatalf("%d processors", len(f.CPUs))
	}
	for i, want := range vmCPUs {
		for name, val := range map[string]uint64{
			"ax": want.General[0], "cx": want.General[1], "dx": want.General[2], "bx": want.General[3],
			"bp": want.General[4], "sp": want.General[5], "r15": want.General[15],
			"ip": want.RIP, "flags": want.Flags, "cr0": want.CR[0], "cr3": want.CR[3], "cr4": want.CR[4],
		} {
			if got, ok := f.CPUs[i].Register(name); !ok || got != val {
				t.Errorf("processor %d: %s is %#x, %v, want %#x", i, name, got, ok, val)
			}
		}
	}
}

// TestVMwareAlone opens memory without its state.
func TestVMwareAlone(t *testing.T) {
	dir := t.TempDir()
	small := filepath.Join(dir, "small.vmem")
	put(t, small, bytes.Repeat([]byte{1}, 8192))
	img := mustOpen(t, []string{small})
	if f := img.Facts(); f.MaxPhys != 8192 || f.Format != dump.FormatVMware {
		t.Errorf("small: memory to %#x, format %q", f.MaxPhys, f.Format)
	}
	large := filepath.Join(dir, "large.vmem")
	put(t, large, []byte{1})
	if err := os.Truncate(large, 3<<30+4096); err != nil {
		t.Fatal(err)
	}
	_, err := dump.Open([]string{large})
	if !errors.Is(err, dump.ErrUnsupported) || !strings.Contains(err.Error(), ".vmss") {
		t.Errorf("large: %v", err)
	}
	stem := vmFiles(t, wholeMachine(4096), ".vmss", false, false)
	if err := os.Remove(stem + ".vmem"); err != nil {
		t.Fatal(err)
	}
	_, err = dump.Open([]string{stem + ".vmss"})
	if !errors.Is(err, dump.ErrUnsupported) || !strings.Contains(err.Error(), ".vmem") {
		t.Errorf("state alone: %v", err)
	}
}
