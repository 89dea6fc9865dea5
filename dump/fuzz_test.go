package dump

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/kmortem/mortem/dump/dumpwriter"
)

// heapStore is a file in memory that behaves like a mapped one.
type heapStore struct{ mappedStore }

func (heapStore) close() error { return nil }

// exercise does with an image what the floors above do, and looks for answers
// that cannot be.
func exercise(t *testing.T, img Image) {
	t.Helper()
	defer img.Close()
	f := img.Facts()
	if f.PageSize == 0 || f.PageSize&(f.PageSize-1) != 0 || f.ByteOrder == nil {
		t.Fatalf("facts: %+v", f)
	}
	addrs := []uint64{0, 4095, 1 << 20, f.MaxPhys - 1, f.MaxPhys, ^uint64(0) - 7}
	n := 0
	last := uint64(0)
	for r := range img.Ranges() {
		if r.Start >= r.End || n > 0 && r.Start <= last {
			t.Fatalf("range %#x-%#x after %#x", r.Start, r.End, last)
		}
		last = r.End
		addrs = append(addrs, r.Start, r.End-1, r.End)
		if n++; n > 50 {
			break
		}
	}
	buf := make([]byte, 5000)
	for _, addr := range addrs {
		checkRead(t, img, buf, addr)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pages := 0
	err := img.Sweep(ctx, 1, func(_ int, p Page) error {
		if (p.Err == nil) != (len(p.Data) > 0) || uint64(len(p.Data)) > f.PageSize {
			t.Fatalf("page of %d bytes with error %v", len(p.Data), p.Err)
		}
		if pages++; pages > 300 {
			return io.EOF
		}
		return nil
	})
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	if st, err := Stat(ctx, img); err != nil || st.Present > 1<<52 {
		t.Fatalf("%+v, %v", st, err)
	}
}

func checkRead(t *testing.T, img Image, buf []byte, addr uint64) {
	t.Helper()
	got, err := img.ReadPhys(buf, addr)
	var re *ReadError
	switch {
	case err == nil && got != len(buf):
		t.Fatalf("%d bytes and no error", got)
	case err == nil:
	case !errors.As(err, &re) || re.Kind == nil:
		t.Fatalf("error %v", err)
	case re.Addr-addr != uint64(got):
		t.Fatalf("%d bytes from %#x, and error at %#x: %v", got, addr, re.Addr, err)
	}
	if view, err := img.ViewPhys(addr, 8); err == nil && (got < 8 || !bytes.Equal(view, buf[:8])) {
		t.Fatalf("a view of what cannot be read, or something else, at %#x", addr)
	}
}

// openFuzzed opens files both ways: as if mapped, and by reading.
func openFuzzed(t *testing.T, files ...[]byte) {
	t.Helper()
	if img, err := openMemory(files...); err == nil {
		exercise(t, img)
	} else {
		checkFileError(t, err)
	}
	var stores []store
	for _, data := range files {
		s, err := unflatten(&heapStore{mappedStore{path: "memory", data: data}})
		if err != nil {
			checkFileError(t, err)
			return
		}
		stores = append(stores, s)
	}
	if img, err := openStores(stores, gather([]Option{WithoutScan(), WithCache(1 << 20)})); err == nil {
		exercise(t, img)
	} else {
		checkFileError(t, err)
	}
}

func checkFileError(t *testing.T, err error) {
	t.Helper()
	var fe *FileError
	if !errors.As(err, &fe) || fe.Kind == nil {
		t.Fatalf("error of opening: %v", err)
	}
}

// fuzzMemory is a handful of pages, so that inputs stay small.
func fuzzMemory() dumpwriter.PageMap {
	return dumpwriter.PageMap{
		0: []byte("page zero"), 1: {}, 2: nil, 3: bytes.Repeat([]byte("dentry "), 500),
		8: {}, 9: []byte("nine"), 70: bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, 455),
	}
}

func fuzzConfig() dumpwriter.Config {
	return dumpwriter.Config{
		Uts:        dumpwriter.Utsname{Sysname: "Linux", Nodename: "n", Release: "6.1.0", Machine: "x86_64"},
		VMCoreInfo: "OSRELEASE=6.1.0\nPAGESIZE=4096\nCRASHTIME=1700000000\n",
		Notes:      []dumpwriter.Note{dumpwriter.PRStatus(binary.LittleEndian, 64, 7, make([]uint64, 27))},
		DumpLevel:  31,
	}
}

func written(write func(io.WriterAt, dumpwriter.Memory, dumpwriter.Config) error, cfg dumpwriter.Config) []byte {
	var b dumpwriter.Buffer
	if err := write(&b, fuzzMemory(), cfg); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func FuzzELF(f *testing.F) {
	cfg := fuzzConfig()
	f.Add(written(dumpwriter.ELF, cfg))
	cfg.ExtendedPH = true
	f.Add(written(dumpwriter.ELF, cfg))
	cfg.Bits, cfg.Order, cfg.Uts.Machine, cfg.Align = 32, binary.BigEndian, "ppc", 4
	f.Add(written(dumpwriter.ELF, cfg))
	f.Fuzz(func(t *testing.T, data []byte) { openFuzzed(t, data) })
}

func FuzzKdump(f *testing.F) {
	for i, codec := range []dumpwriter.Codec{dumpwriter.Raw, dumpwriter.Zlib, dumpwriter.LZO, dumpwriter.Snappy, dumpwriter.Zstd} {
		cfg := fuzzConfig()
		cfg.Codec = dumpwriter.All(codec)
		cfg.Version = i + 2
		f.Add(written(dumpwriter.Kdump, cfg))
	}
	cfg := fuzzConfig()
	cfg.Bits, cfg.Order, cfg.Uts.Machine, cfg.Version = 32, binary.BigEndian, "ppc", 1
	f.Add(written(dumpwriter.Kdump, cfg))
	f.Fuzz(func(t *testing.T, data []byte) { openFuzzed(t, data) })
}

func FuzzFlattened(f *testing.F) {
	for _, write := range []func(io.WriterAt, dumpwriter.Memory, dumpwriter.Config) error{dumpwriter.ELF, dumpwriter.Kdump} {
		var b bytes.Buffer
		w := dumpwriter.NewFlattener(&b)
		if err := errors.Join(write(w, fuzzMemory(), fuzzConfig()), w.Close()); err != nil {
			f.Fatal(err)
		}
		// Without the 4 KiB of its header, most of them zeros.
		f.Add(b.Bytes()[flatHeaderSize:])
	}
	f.Fuzz(func(t *testing.T, records []byte) {
		data := make([]byte, flatHeaderSize, flatHeaderSize+len(records))
		copy(data, flatSignature)
		data[23], data[31] = flatType, flatVersion
		openFuzzed(t, append(data, records...))
	})
}

func FuzzSplit(f *testing.F) {
	var parts [2]dumpwriter.Buffer
	if err := dumpwriter.Split([]io.WriterAt{&parts[0], &parts[1]}, fuzzMemory(), fuzzConfig()); err != nil {
		f.Fatal(err)
	}
	f.Add(parts[0].Bytes(), parts[1].Bytes())
	f.Add(parts[1].Bytes(), parts[0].Bytes())
	f.Fuzz(func(t *testing.T, a, b []byte) { openFuzzed(t, a, b) })
}

func FuzzNotes(f *testing.F) {
	cfg := fuzzConfig()
	cfg.Notes = append(cfg.Notes, dumpwriter.QEMUState(binary.LittleEndian, [18]uint64{1, 2, 3}, [5]uint64{4, 5}, 6))
	elf := written(dumpwriter.ELF, cfg)
	at, size := binary.LittleEndian.Uint64(elf[64+8:]), binary.LittleEndian.Uint64(elf[64+32:])
	f.Add(elf[at:at+size], "x86_64", true, false)
	f.Add(elf[at:at+size], "i686", false, true)
	f.Fuzz(func(t *testing.T, notes []byte, arch string, is64, big bool) {
		facts := Facts{Arch: Arch(arch), Is64: is64, ByteOrder: binary.LittleEndian}
		if big {
			facts.ByteOrder = binary.BigEndian
		}
		facts.takeNotes(notes)
		facts.finish()
		if len(facts.CPUs) > len(notes)/12 {
			t.Fatalf("%d processors in %d bytes", len(facts.CPUs), len(notes))
		}
	})
}

func FuzzVMCoreInfo(f *testing.F) {
	f.Add([]byte("OSRELEASE=6.1.0\nSYMBOL(_stext)=ffffffff81000000\nNUMBER(phys_base)=-4194304\nOFFSET(page.flags)=0\n"), "phys_base")
	f.Add([]byte("A=1\nA=2\n=\n==\nB\r\nKERNELOFFSET=1f000000\x00\x00"), "")
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		v := ParseVMCoreInfo(text)
		for _, key := range v.Keys() {
			if _, ok := v.Get(key); !ok {
				t.Fatalf("key %q has no value", key)
			}
		}
		v.Symbol(name)
		v.Number(name)
		v.Size(name)
		v.Offset(name)
		v.Length(name)
		v.Hex(name)
	})
}
