package dump_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// kdumpPlaces are the offsets of the structures of a kdump file of testConfig.
type kdumpPlaces struct {
	sub, maps1, maps2, descs, data, end int
}

func findPlaces(data []byte, pageSize int, pages int) kdumpPlaces {
	subBlocks := int(binary.LittleEndian.Uint32(data[432:]))
	mapBlocks := int(binary.LittleEndian.Uint32(data[436:]))
	var p kdumpPlaces
	p.sub = pageSize
	p.maps1 = (1 + subBlocks) * pageSize
	p.maps2 = p.maps1 + mapBlocks/2*pageSize
	p.descs = p.maps1 + mapBlocks*pageSize
	p.data = p.descs + 24*pages
	p.end = len(data)
	return p
}

func presentPages(mem dumpwriter.PageMap) []uint64 {
	var list []uint64
	for pfn := range mem.Pages() {
		if mem.State(pfn) == dumpwriter.Present {
			list = append(list, pfn)
		}
	}
	return list
}

// outcome counts what became of the pages of a machine in a damaged dump. Good
// pages have the right bytes.
type outcome struct{ good, wrong, missing, corrupt int }

func readAll(t *testing.T, img dump.Image, mem dumpwriter.PageMap, pageSize int) outcome {
	t.Helper()
	o := readPages(t, img, mem, pageSize)
	checkVerify(t, img, o)
	return o
}

// readPages is readAll by single reads only.
func readPages(t *testing.T, img dump.Image, mem dumpwriter.PageMap, pageSize int) outcome {
	t.Helper()
	var o outcome
	buf, want := make([]byte, pageSize), make([]byte, pageSize)
	for pfn := range mem.Pages() {
		_, err := img.ReadPhys(buf, pfn*uint64(pageSize))
		var re *dump.ReadError
		if err != nil && (!errors.As(err, &re) || re.Addr/uint64(pageSize) != pfn) {
			t.Fatalf("page %d: error %v", pfn, err)
		}
		if state := mem.State(pfn); state != dumpwriter.Present {
			kind := dump.ErrMissing
			if state == dumpwriter.Excluded {
				kind = dump.ErrExcluded
			}
			if !errors.Is(err, kind) {
				t.Errorf("page %d of state %d: %v", pfn, state, err)
			}
			continue
		}
		switch {
		case err == nil:
			if err := mem.Read(pfn, want); err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(buf, want) {
				o.good++
			} else {
				o.wrong++
			}
		case errors.Is(err, dump.ErrMissing):
			o.missing++
		case errors.Is(err, dump.ErrCorrupt):
			o.corrupt++
			if re.File == "" || re.Offset < 0 {
				t.Errorf("page %d: no place in %v", pfn, err)
			}
		default:
			t.Errorf("page %d: %v", pfn, err)
		}
	}
	return o
}

// checkVerify: the sweep meets the same damage as the single reads.
func checkVerify(t *testing.T, img dump.Image, o outcome) {
	t.Helper()
	var corrupt, missing int
	st, err := dump.Verify(t.Context(), img, dump.VerifyOptions{Workers: 2, Report: func(e *dump.ReadError) error {
		if errors.Is(e, dump.ErrCorrupt) {
			corrupt++
		} else {
			missing++
		}
		return nil
	}})
	if err != nil {
		t.Error(err)
		return
	}
	if corrupt != o.corrupt || st.Damaged != uint64(o.corrupt) || st.Missing != uint64(o.missing) || st.Present != uint64(o.good+o.wrong) {
		t.Errorf("verify: %+v, reported %d damaged, %d missing; single reads: %+v", *st, corrupt, missing, o)
	}
}

// TestKdumpTruncated cuts a dump at each structure, for each codec.
func TestKdumpTruncated(t *testing.T) {
	mem := testMachine(4096)
	pages := presentPages(mem)
	for _, codec := range testCodecs() {
		cfg := testConfig(4096)
		cfg.Codec = dumpwriter.All(codec)
		whole := build(t, dumpwriter.Kdump, mem, cfg)
		at := findPlaces(whole, 4096, len(pages))
		for _, test := range []struct {
			name string
			size int
			kind error // of Open
			good func(o outcome) bool
		}{
			{"nothing", 0, dump.ErrFormat, nil},
			{"magic", 5, dump.ErrFormat, nil},
			{"header", 200, dump.ErrDamaged, nil},
			{"subheader", at.sub + 20, dump.ErrDamaged, nil},
			{"notes", at.maps1 - 300, dump.ErrDamaged, nil},
			{"bitmap1", at.maps1 + 100, dump.ErrDamaged, nil},
			{"bitmap2", at.maps2 + 100, dump.ErrDamaged, nil},
			{"descriptors", at.descs, nil, func(o outcome) bool { return o.missing == len(pages) }},
			{"middle of the descriptors", at.descs + 24*100 + 7, nil, func(o outcome) bool { return o.missing == len(pages) }},
			{"data", at.data, nil, func(o outcome) bool { return o.missing == len(pages) }},
			{"middle of the data", (at.data + at.end) / 2, nil, func(o outcome) bool { return o.good > 100 && o.missing > 100 && o.corrupt == 0 }},
			{"last byte", at.end - 1, nil, func(o outcome) bool { return o.good == len(pages)-1 && o.missing == 1 }},
			{"whole", at.end, nil, func(o outcome) bool { return o.good == len(pages) }},
		} {
			t.Run(fmt.Sprintf("%s/%s", codec, test.name), func(t *testing.T) {
				path := file(t, whole[:test.size])
				for _, opts := range [][]dump.Option{nil, {dump.WithoutMapping()}} {
					img, err := dump.Open([]string{path}, opts...)
					if test.kind != nil {
						wantFileError(t, err, test.kind, path)
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					defer img.Close()
					o := readAll(t, img, mem, 4096)
					if o.wrong > 0 || !test.good(o) {
						t.Errorf("%+v", o)
					}
					f := img.Facts()
					if whole := test.size == at.end; f.Incomplete == whole || (len(f.Warnings) == 0) != whole {
						t.Errorf("incomplete %v, warnings %q", f.Incomplete, f.Warnings)
					}
				}
			})
		}
	}
}

// wantFileError: errors of opening are one line that names the file.
func wantFileError(t *testing.T, err, kind error, path string) {
	t.Helper()
	var fe *dump.FileError
	if !errors.As(err, &fe) || !errors.Is(err, kind) || fe.File != path ||
		strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), path) {
		t.Errorf("error %v, want a %v", err, kind)
	}
}

// openBounded opens a dump of less than 2 MB, and sees that it takes no more
// memory than such a file can justify, whatever its headers say.
func openBounded(t *testing.T, path string) (dump.Image, error) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	img, err := dump.Open([]string{path})
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 16<<20 {
		t.Errorf("opening took %d MiB", taken>>20)
	}
	return img, err
}

// TestKdumpFlipped changes bytes of each structure.
func TestKdumpFlipped(t *testing.T) {
	mem := testMachine(4096)
	pages := presentPages(mem)
	all := len(pages)
	for _, codec := range testCodecs() {
		cfg := testConfig(4096)
		cfg.Codec = dumpwriter.All(codec)
		whole := build(t, dumpwriter.Kdump, mem, cfg)
		at := findPlaces(whole, 4096, all)
		u32 := func(off int, v uint32) func([]byte) {
			return func(b []byte) { binary.LittleEndian.PutUint32(b[off:], v) }
		}
		u64 := func(off int, v uint64) func([]byte) {
			return func(b []byte) { binary.LittleEndian.PutUint64(b[off:], v) }
		}
		// A page that is neither shared nor raw, where the codec has one.
		victim := slices.Index(pages, 8)
		desc := at.descs + 24*victim
		victimAt := int(binary.LittleEndian.Uint64(whole[desc:]))
		victimSize := int(binary.LittleEndian.Uint32(whole[desc+8:]))
		one := func(o outcome) bool { return o.good == all-1 && o.corrupt == 1 }
		healthy := func(o outcome) bool { return o.good == all }
		for _, test := range []struct {
			name   string
			change func([]byte)
			kind   error
			good   func(o outcome) bool
		}{
			{"magic", func(b []byte) { b[3] ^= 0x20 }, dump.ErrFormat, nil},
			{"version", u32(8, 0x7fffffff), dump.ErrDamaged, nil},
			{"newer version", u32(8, 7), nil, healthy},
			{"status", u32(424, 0xffffffff&^8), nil, healthy},
			{"block size 0", u32(428, 0), dump.ErrDamaged, nil},
			{"block size odd", u32(428, 4097), dump.ErrDamaged, nil},
			{"block size huge", u32(428, 1<<31), dump.ErrDamaged, nil},
			{"sub header size", u32(432, 0xffffffff), dump.ErrDamaged, nil},
			{"bitmap blocks 0", u32(436, 0), dump.ErrDamaged, nil},
			{"bitmap blocks huge", u32(436, 0xfffffffe), dump.ErrDamaged, nil},
			{"max_mapnr_64 0", u64(at.sub+96, 0), dump.ErrDamaged, nil},
			{"max_mapnr_64 huge", u64(at.sub+96, 1<<60), dump.ErrDamaged, nil},
			{"vmcoreinfo place", u64(at.sub+32, 1<<63), nil, healthy},
			{"vmcoreinfo size", u64(at.sub+40, 1<<63-1), nil, healthy},
			{"note place", u64(at.sub+48, ^uint64(0)), nil, healthy},
			{"note size", u64(at.sub+56, 1<<40), nil, healthy},
			{"notes", func(b []byte) { clear16(b[at.maps1-200:], 0xff) }, nil, healthy},
			{"bitmap1", func(b []byte) { clear16(b[at.maps1+64:], 0) }, nil, nil},
			{"bitmap2 more", func(b []byte) { b[at.maps2+200/8] |= 1 }, nil, nil},
			{"bitmap2 less", func(b []byte) { b[at.maps2] &^= 1 }, nil, nil},
			{"descriptor offset 0", u64(desc, 0), nil, nil},
			{"descriptor offset high", u64(desc, 1<<63), nil, one},
			{"descriptor offset far", u64(desc, 1<<40), nil, one},
			{"descriptor offset end", u64(desc, uint64(at.end)), nil, one},
			{"descriptor size 0", u32(desc+8, 0), nil, one},
			{"descriptor size huge", u32(desc+8, 0xffffffff), nil, one},
			{"descriptor size less", u32(desc+8, uint32(victimSize-1)), nil, one},
			{"descriptor flags unknown", u32(desc+12, 0x40), nil, one},
			{"descriptor flags two", u32(desc+12, 0x3), nil, one},
			{"descriptor zeroed", func(b []byte) { clear(b[desc : desc+24]) }, nil,
				func(o outcome) bool { return o.good == all-1 && o.missing == 1 }},
			{"page start", func(b []byte) { clear16(b[victimAt:], 0xff) }, nil, nil},
			{"page middle", func(b []byte) { b[victimAt+victimSize/2] ^= 4 }, nil, nil},
			{"page end", func(b []byte) { b[victimAt+victimSize-1] ^= 1 }, nil, nil},
		} {
			t.Run(fmt.Sprintf("%s/%s", codec, test.name), func(t *testing.T) {
				data := bytes.Clone(whole)
				test.change(data)
				path := file(t, data)
				img, err := openBounded(t, path)
				if test.kind != nil {
					wantFileError(t, err, test.kind, path)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer img.Close()
				switch {
				case test.good != nil:
					if o := readAll(t, img, mem, 4096); !test.good(o) {
						t.Errorf("%+v", o)
					}
				case strings.HasPrefix(test.name, "bitmap2"):
					if f := img.Facts(); len(f.Warnings) == 0 {
						t.Error("no warning of a damaged bitmap")
					}
				case strings.HasPrefix(test.name, "page"):
					o := readAll(t, img, mem, 4096)
					if o.good != all-1 || codec == dumpwriter.Zlib && o.corrupt != 1 {
						t.Errorf("%+v", o)
					}
				}
			})
		}
	}
}

func clear16(b []byte, v byte) {
	for i := range b[:16] {
		b[i] = v
	}
}

// TestIncompleteFlag: makedumpfile marks a dump whose disk was full.
func TestIncompleteFlag(t *testing.T) {
	mem := testMachine(4096)
	cfg := testConfig(4096)
	cfg.Incomplete = true
	img := mustOpen(t, []string{file(t, build(t, dumpwriter.Kdump, mem, cfg))})
	if f := img.Facts(); !f.Incomplete || len(f.Warnings) != 1 {
		t.Errorf("incomplete %v, warnings %q", f.Incomplete, f.Warnings)
	}
	checkMemory(t, img, mem, 4096)
}

// TestELFTruncated cuts an ELF dump at each structure.
func TestELFTruncated(t *testing.T) {
	mem := testMachine(4096)
	pages := len(presentPages(mem))
	for _, extended := range []bool{false, true} {
		cfg := testConfig(4096)
		cfg.ExtendedPH = extended
		whole := build(t, dumpwriter.ELF, mem, cfg)
		phoff := 64
		phnum := int(binary.LittleEndian.Uint16(whole[56:]))
		if extended {
			shoff := int(binary.LittleEndian.Uint64(whole[40:]))
			phnum = int(binary.LittleEndian.Uint32(whole[shoff+44:]))
		}
		note := int(binary.LittleEndian.Uint64(whole[phoff+8:]))
		first := int(binary.LittleEndian.Uint64(whole[phoff+56+8:]))
		for _, test := range []struct {
			name string
			size int
			kind error
			good func(o outcome) bool
		}{
			{"magic", 3, dump.ErrFormat, nil},
			{"ident", 10, dump.ErrDamaged, nil},
			{"header", 40, dump.ErrDamaged, nil},
			{"program headers", phoff + 56*phnum - 1, dump.ErrDamaged, nil},
			{"notes", note + 30, nil, func(o outcome) bool { return o.missing == pages }},
			{"data", first, nil, func(o outcome) bool { return o.missing == pages }},
			{"middle of the data", first + (len(whole)-first)/8192*4096, nil, func(o outcome) bool { return o.good > 100 && o.missing > 100 }},
			{"last byte", len(whole) - 1, nil, func(o outcome) bool { return o.good == pages-1 && o.missing == 1 }},
			{"whole", len(whole), nil, func(o outcome) bool { return o.good == pages }},
		} {
			t.Run(fmt.Sprintf("extended=%v/%s", extended, test.name), func(t *testing.T) {
				path := file(t, whole[:test.size])
				img, err := openBounded(t, path)
				if test.kind != nil {
					wantFileError(t, err, test.kind, path)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer img.Close()
				if test.name == "last byte" {
					// Sweep hands out the bytes that are left of that page.
					if f := img.Facts(); !f.Incomplete {
						t.Error("not marked as incomplete")
					}
					return
				}
				if o := readAll(t, img, mem, 4096); !test.good(o) {
					t.Errorf("%+v", o)
				}
				if f := img.Facts(); f.Incomplete == (test.size == len(whole)) {
					t.Errorf("incomplete %v, warnings %q", f.Incomplete, f.Warnings)
				}
			})
		}
	}
}

// TestELFFlipped changes fields of the headers.
func TestELFFlipped(t *testing.T) {
	mem := testMachine(4096)
	whole := build(t, dumpwriter.ELF, mem, testConfig(4096))
	load := 64 + 56
	for _, test := range []struct {
		name   string
		change func(b []byte)
		kind   error
	}{
		{"class", func(b []byte) { b[4] = 9 }, dump.ErrDamaged},
		{"byte order", func(b []byte) { b[5] = 0 }, dump.ErrDamaged},
		{"executable", func(b []byte) { b[16] = 2 }, dump.ErrFormat},
		{"object file", func(b []byte) { b[16] = 1 }, dump.ErrFormat},
		{"phoff", func(b []byte) { binary.LittleEndian.PutUint64(b[32:], 1<<63) }, dump.ErrDamaged},
		{"phentsize", func(b []byte) { b[54] = 8 }, dump.ErrDamaged},
		{"phnum 0", func(b []byte) { b[56], b[57] = 0, 0 }, dump.ErrDamaged},
		{"no loads", func(b []byte) { b[56], b[57] = 1, 0 }, dump.ErrDamaged},
		{"offset high", func(b []byte) { binary.LittleEndian.PutUint64(b[load+8:], ^uint64(0)-5) }, nil},
		{"paddr high", func(b []byte) { binary.LittleEndian.PutUint64(b[load+24:], ^uint64(0)-5) }, nil},
		{"filesz huge", func(b []byte) { binary.LittleEndian.PutUint64(b[load+32:], 1<<63) }, nil},
		{"memsz huge", func(b []byte) { binary.LittleEndian.PutUint64(b[load+40:], ^uint64(0)) }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := bytes.Clone(whole)
			test.change(data)
			path := file(t, data)
			img, err := openBounded(t, path)
			if test.kind != nil {
				wantFileError(t, err, test.kind, path)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer img.Close()
			buf := make([]byte, 4096)
			good := 0
			for pfn := range mem.Pages() {
				if _, err := img.ReadPhys(buf, pfn*4096); err == nil {
					good++
				}
			}
			if good < 300 {
				t.Errorf("%d pages can be read", good)
			}
		})
	}
}

// TestFlattenedDamaged cuts and breaks flattened files.
func TestFlattenedDamaged(t *testing.T) {
	mem := testMachine(4096)
	pages := len(presentPages(mem))
	cfg := testConfig(4096)
	cfg.Codec = dumpwriter.All(dumpwriter.Zlib)
	whole := flattened(t, dumpwriter.Kdump, mem, cfg)
	for _, test := range []struct {
		name   string
		change func(b []byte) []byte
		kind   error
		whole  bool
	}{
		{"whole", func(b []byte) []byte { return b }, nil, true},
		{"no end mark", func(b []byte) []byte { return b[:len(b)-16] }, nil, false},
		{"cut in the end mark", func(b []byte) []byte { return b[:len(b)-3] }, nil, false},
		{"header only", func(b []byte) []byte { return b[:4096] }, dump.ErrDamaged, false},
		{"half a header", func(b []byte) []byte { return b[:20] }, dump.ErrDamaged, false},
		{"type", func(b []byte) []byte { b[23] = 9; return b }, dump.ErrDamaged, false},
		{"before the dump's header", func(b []byte) []byte { return b[:len(b)/2] }, dump.ErrDamaged, false},
		{"first record's length", func(b []byte) []byte { b[4096+8] = 0xff; return b }, dump.ErrDamaged, false},
		{"first record's offset", func(b []byte) []byte { b[4096] = 0xff; return b }, dump.ErrDamaged, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := file(t, test.change(bytes.Clone(whole)))
			img, err := openBounded(t, path)
			if test.kind != nil {
				wantFileError(t, err, test.kind, path)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer img.Close()
			if o := readAll(t, img, mem, 4096); o.good != pages {
				t.Errorf("%+v", o)
			}
			if f := img.Facts(); f.Incomplete == test.whole {
				t.Errorf("incomplete %v, warnings %q", f.Incomplete, f.Warnings)
			}
		})
	}
}

// TestFlattenedSignature: makedumpfile 1.6.8 does not clear what is behind the signature in
// the 16 bytes that there are for it.
func TestFlattenedSignature(t *testing.T) {
	var flat bytes.Buffer
	w := dumpwriter.NewFlattener(&flat)
	plain := build(t, dumpwriter.Kdump, testMachine(4096), testConfig(4096))
	if _, err := w.WriteAt(plain, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	copy(flat.Bytes()[13:16], "\x94\xff\xff") // as in a dump of Debian 11
	img, err := openBounded(t, file(t, flat.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if f := img.Facts(); f.Format != dump.FormatKdump || f.Incomplete {
		t.Errorf("%+v", f)
	}
}

// TestFlattenedCutInHeaders: makedumpfile writes the headers first. Where they are
// cut short, that is what is wrong, and not what they seem to say.
func TestFlattenedCutInHeaders(t *testing.T) {
	plain := build(t, dumpwriter.Kdump, testMachine(4096), testConfig(4096))
	flat := make([]byte, 4096)
	copy(flat, "makedumpfile")
	flat[23], flat[31] = 1, 1
	for at := 0; at < 3*4096; at += 4096 {
		flat = binary.BigEndian.AppendUint64(flat, uint64(at))
		flat = binary.BigEndian.AppendUint64(flat, 4096)
		flat = append(flat, plain[at:at+4096]...)
	}
	for size, says := range map[int]string{
		4096 + 16 + 100:             "cut short within its record 0",
		4096 + 16 + 4096:            "cut short after 1 records",
		4096 + 2*16 + 4096 + 64:     "cut short within its record 1",
		4096 + 3*16 + 2*4096 + 2048: "cut short within its record 2",
	} {
		path := file(t, flat[:size])
		_, err := openBounded(t, path)
		wantFileError(t, err, dump.ErrDamaged, path)
		if !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("cut to %d bytes: %v", size, err)
		}
	}
}

// TestNoDump: what people hand in by mistake gets one clear line.
func TestNoDump(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		path string
		kind error
		says string
	}{
		{dir, dump.ErrFormat, "a directory"},
		{filepath.Join(dir, "nothing"), os.ErrNotExist, "no such file"},
		{write("empty", ""), dump.ErrFormat, "is empty"},
		{write("dmesg.txt", "[    0.000000] Linux version 6.1.0\n"), dump.ErrFormat, "a text file"},
		{write("zeros", string(make([]byte, 8192))), dump.ErrFormat, "zeros"},
		{write("random", "\x01\x02\x03\xfe\xff\x80\x99\x00abc"), dump.ErrFormat, "begins with the bytes 01 02 03"},
		{write("lkcd", "\xed\x23\x8f\x61\x73\x01\x19\xa8 and more"), dump.ErrUnsupported, "LKCD"},
		{write("s390", "\xa8\x19\x01\x73\x61\x8f\x23\xfd and more"), dump.ErrUnsupported, "s390"},
		{write("sadump", "sadump\x00\x00 and more"), dump.ErrUnsupported, "sadump"},
		{write("diskdump", "DISKDUMP and more"), dump.ErrUnsupported, "diskdump"},
		{write("saved", "LibvirtQemudSave and more"), dump.ErrUnsupported, "libvirt"},
		{write("windows", "PAGEDU64 and more"), dump.ErrUnsupported, "Windows"},
		{write("debug.guest", "\x04\x00\x00\x00\x02\x00\x00\x00\x01 and more"), dump.ErrUnsupported, "debug.vmem"},
	} {
		img, err := dump.Open([]string{test.path})
		if err == nil {
			img.Close()
			t.Errorf("%s: opened", test.path)
			continue
		}
		wantFileError(t, err, test.kind, test.path)
		if !strings.Contains(err.Error(), test.says) {
			t.Errorf("error: %v", err)
		}
	}
	if _, err := dump.Open(nil); err == nil {
		t.Error("opened nothing")
	}
}
