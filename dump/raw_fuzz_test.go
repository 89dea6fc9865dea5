package dump_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// smallMachine fits into a fuzzer's input.
func smallMachine() dumpwriter.PageMap {
	m := make(memory, 5*4096)
	m.putUts(0x40, "6.1.0", "x86_64")
	m.put(0x1ff0, infoNote(binary.LittleEndian, infoText("6.1.0", 0x40)))
	pages := m.machine()
	delete(pages, 3)
	return pages
}

// useImage does with an image of hostile bytes what a program does, as far as
// its size allows.
func useImage(t *testing.T, img dump.Image) {
	defer img.Close()
	size := img.Facts().PageSize
	buf := make([]byte, 3*size/2)
	for r := range img.Ranges() {
		_, _ = img.ReadPhys(buf, r.Start)
		_, _ = img.ReadPhys(buf, r.End-size/2)
		_, _ = img.ViewPhys(r.Start, 64)
	}
	err := img.Sweep(t.Context(), 1, func(_ int, p dump.Page) error {
		if p.Err == nil && len(p.Data) == 0 || p.Err != nil && p.Data != nil {
			t.Errorf("page %#x has %d bytes and error %v", p.Addr, len(p.Data), p.Err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// fuzzOpen opens the bytes as files of those names and uses what opens.
func fuzzOpen(t *testing.T, opts []dump.Option, files map[string][]byte) {
	var sources []dump.Source
	for name, data := range files {
		sources = append(sources, dump.Source{Name: name, Size: int64(len(data)), ReaderAt: bytes.NewReader(data)})
	}
	if img, err := dump.OpenSources(sources, opts...); err == nil {
		useImage(t, img)
	}
}

func FuzzLiME(f *testing.F) {
	f.Add(build(f, dumpwriter.LiME, smallMachine(), dumpwriter.Config{}))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzOpen(t, nil, map[string][]byte{"x": append([]byte("EMiL"), data[min(4, len(data)):]...)})
	})
}

func FuzzAVML(f *testing.F) {
	f.Add(build(f, dumpwriter.AVML, smallMachine(), dumpwriter.Config{MaxSegment: 2}))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzOpen(t, nil, map[string][]byte{"x": append([]byte("AVML"), data[min(4, len(data)):]...)})
	})
}

func FuzzVMware(f *testing.F) {
	for _, inside := range []bool{false, true} {
		var state, vmem dumpwriter.Buffer
		var err error
		if inside {
			err = dumpwriter.VMware(&state, nil, smallMachine(), vmCPUs[:1], true, dumpwriter.Config{})
		} else {
			err = dumpwriter.VMware(&state, &vmem, smallMachine(), vmCPUs[:1], false, dumpwriter.Config{})
		}
		if err != nil {
			f.Fatal(err)
		}
		head := state.Bytes()
		f.Add(head[:min(2048, len(head))], inside)
	}
	f.Fuzz(func(t *testing.T, state []byte, inside bool) {
		files := map[string][]byte{"x.vmss": append([]byte("\xd2\xbe\xd2\xbe"), state[min(4, len(state)):]...)}
		if !inside {
			files["x.vmem"] = make([]byte, 8*4096)
		}
		fuzzOpen(t, nil, files)
	})
}

// FuzzVMCoreInfoScan searches hostile memory.
func FuzzVMCoreInfoScan(f *testing.F) {
	var whole []byte
	m := smallMachine()
	for pfn := range m.Pages() {
		whole = append(whole, append(m[pfn], make([]byte, 4096-len(m[pfn]))...)...)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzOpen(t, []dump.Option{dump.WithRawMemory(0)}, map[string][]byte{"x": data})
	})
}
