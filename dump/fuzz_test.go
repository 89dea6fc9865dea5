package dump

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
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

// Inputs of the targets for whole files are changes to a good file, so that they
// are a few bytes long and hit structures, not pages: each change is an offset
// (32 bits, little-endian, modulo the size of the file), a number n and n%16+1
// bytes to put there. The file is then cut to cut bytes, if it has more.
func changed(good, changes []byte, cut uint32) []byte {
	data := bytes.Clone(good)
	for len(changes) > 5 {
		off := binary.LittleEndian.Uint32(changes) % uint32(len(data))
		n := min(int(changes[4]%16)+1, len(changes)-5)
		copy(data[off:], changes[5:5+n])
		changes = changes[5+n:]
	}
	return data[:min(uint32(len(data)), cut)]
}

// seeds adds, for each of the places in a file, changes of its 4 or 8 bytes to
// values that break arithmetic.
func seeds(f *testing.F, add func(changes []byte, cut uint32), places ...int) {
	f.Helper()
	add(nil, 1<<31)
	for _, at := range places {
		add(nil, uint32(at))
		for _, v := range []uint64{0, 1, 0xffffffff, 1 << 31, 1 << 62, ^uint64(0) - 7} {
			change := binary.LittleEndian.AppendUint32(nil, uint32(at))
			for _, n := range []int{4, 8} {
				bytes := binary.LittleEndian.AppendUint64(append(change, byte(n-1)), v)
				add(bytes[:5+n], 1<<31)
			}
		}
	}
}

func FuzzELF(f *testing.F) {
	cfg := fuzzConfig()
	good := [][]byte{written(dumpwriter.ELF, cfg)}
	cfg.ExtendedPH = true
	good = append(good, written(dumpwriter.ELF, cfg))
	cfg.Bits, cfg.Order, cfg.Uts.Machine, cfg.Align = 32, binary.BigEndian, "ppc", 4
	good = append(good, written(dumpwriter.ELF, cfg))
	for which := range good {
		add := func(changes []byte, cut uint32) { f.Add(byte(which), changes, cut) }
		seeds(f, add, 4, 16, 28, 32, 40, 42, 54, 56, 64+8, 64+32, 64+56+8, 64+56+24, 64+56+32, 64+56+40, 64+3*56)
	}
	f.Fuzz(func(t *testing.T, which byte, changes []byte, cut uint32) {
		openFuzzed(t, changed(good[int(which)%len(good)], changes, cut))
	})
}

// kdumpFields are the offsets of the fields of a 64-bit kdump file of fuzzConfig,
// of its bitmaps, and of its first descriptor.
var kdumpFields = []int{0, 8, 424, 428, 432, 436, 440, 4096, 4104, 4108, 4112, 4120, 4128, 4136, 4144, 4152, 4160, 4168,
	4176, 4184, 4192, 3 * 4096, 4 * 4096, 5 * 4096, 5*4096 + 8, 5*4096 + 12, 5*4096 + 6*24}

func FuzzKdump(f *testing.F) {
	var good [][]byte
	for i, codec := range []dumpwriter.Codec{dumpwriter.Zstd, dumpwriter.Zlib, dumpwriter.LZO, dumpwriter.Snappy, dumpwriter.Raw} {
		cfg := fuzzConfig()
		cfg.Codec = dumpwriter.All(codec)
		cfg.Version = 6 - i
		good = append(good, written(dumpwriter.Kdump, cfg))
	}
	cfg := fuzzConfig()
	cfg.Bits, cfg.Order, cfg.Uts.Machine, cfg.Version = 32, binary.BigEndian, "ppc", 1
	good = append(good, written(dumpwriter.Kdump, cfg))
	for which := range good {
		add := func(changes []byte, cut uint32) { f.Add(byte(which), changes, cut) }
		seeds(f, add, kdumpFields...)
	}
	f.Fuzz(func(t *testing.T, which byte, changes []byte, cut uint32) {
		openFuzzed(t, changed(good[int(which)%len(good)], changes, cut))
	})
}

func FuzzFlattened(f *testing.F) {
	var good [][]byte
	for _, write := range []func(io.WriterAt, dumpwriter.Memory, dumpwriter.Config) error{dumpwriter.ELF, dumpwriter.Kdump} {
		var b bytes.Buffer
		w := dumpwriter.NewFlattener(&b)
		if err := errors.Join(write(w, fuzzMemory(), fuzzConfig()), w.Close()); err != nil {
			f.Fatal(err)
		}
		good = append(good, b.Bytes())
	}
	for which := range good {
		add := func(changes []byte, cut uint32) { f.Add(byte(which), changes, cut) }
		seeds(f, add, 12, 16, 24, 4096, 4104, 4112)
	}
	f.Fuzz(func(t *testing.T, which byte, changes []byte, cut uint32) {
		openFuzzed(t, changed(good[int(which)%len(good)], changes, cut))
	})
}

// FuzzRecords makes flattened files of any records: their bytes are all of the
// input.
func FuzzRecords(f *testing.F) {
	record := func(dest, size uint64, data string) []byte {
		return append(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, dest), size), data...)
	}
	end := record(^uint64(0), ^uint64(0), "")
	f.Add(append(record(0, 3, "abc"), end...))
	f.Add(slices.Concat(record(5, 3, "abc"), record(0, 7, "defghij"), record(6, 1, "k"), end))
	f.Add(slices.Concat(record(0, 2, "ab"), record(2, 2, "cd"), record(4, 2, "ef"), record(1, 4, "ghij"), record(6, 1, "k")))
	f.Add(record(1<<62, 1<<62, "a"))
	f.Fuzz(func(t *testing.T, records []byte) {
		data := make([]byte, flatHeaderSize, flatHeaderSize+len(records))
		copy(data, flatSignature)
		data[23], data[31] = flatType, flatVersion
		flat, err := openFlattened(&heapStore{mappedStore{path: "memory", data: append(data, records...)}})
		if err != nil {
			checkFileError(t, err)
			return
		}
		checkFlattened(t, flat, records)
	})
}

// checkFlattened compares with writing the records into a file one by one.
func checkFlattened(t *testing.T, flat *flatStore, records []byte) {
	t.Helper()
	const most = 1 << 12
	file, written := make([]byte, most), int64(0)
	for len(records) >= flatRecordHead {
		dest, size := int64(binary.BigEndian.Uint64(records)), int64(binary.BigEndian.Uint64(records[8:]))
		if dest == flatEnd {
			break
		}
		data := records[flatRecordHead:]
		data = data[:min(size, int64(len(data)))]
		if dest < most {
			copy(file[dest:], data)
		}
		if len(data) > 0 {
			written = max(written, dest+int64(len(data)))
		}
		records = records[flatRecordHead+len(data):]
	}
	if flat.size() != written {
		t.Fatalf("%d bytes, not %d", flat.size(), written)
	}
	n := int(min(written, most))
	for _, step := range []int{1, 7, n} {
		for off := 0; off < n; off += step {
			got, err := flat.view(int64(off), min(step, n-off), nil)
			if int64(min(step, n-off)) > flat.heap() {
				continue
			}
			if err != nil || !bytes.Equal(got, file[off:off+len(got)]) {
				t.Fatalf("at %d: %x, %v, not %x", off, got, err, file[off:off+min(step, n-off)])
			}
		}
	}
}

func FuzzSplit(f *testing.F) {
	var parts [2]dumpwriter.Buffer
	cfg := fuzzConfig()
	cfg.Codec = dumpwriter.All(dumpwriter.Snappy)
	if err := dumpwriter.Split([]io.WriterAt{&parts[0], &parts[1]}, fuzzMemory(), cfg); err != nil {
		f.Fatal(err)
	}
	a, b := parts[0].Bytes(), parts[1].Bytes()
	seeds(f, func(changes []byte, cut uint32) {
		f.Add(changes, []byte(nil), cut, uint32(1<<31))
		f.Add([]byte(nil), changes, uint32(1<<31), cut)
	}, kdumpFields...)
	f.Fuzz(func(t *testing.T, changesA, changesB []byte, cutA, cutB uint32) {
		openFuzzed(t, changed(a, changesA, cutA), changed(b, changesB, cutB))
	})
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
