package elffile

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const built = "../testdata/built/"

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(built + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// withZstd compresses a section with zstd: the contents go to the end of the
// file, and the section's header says so. Tools of this age cannot do it.
func withZstd(t testing.TB, data []byte, name string) []byte {
	t.Helper()
	e, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	headers := le.Uint64(data[40:])
	out := bytes.Clone(data)
	for i, s := range e.Sections {
		if s.Name != name {
			continue
		}
		raw, _ := s.Data()
		packed := make([]byte, 24)
		le.PutUint32(packed, uint32(elf.COMPRESS_ZSTD))
		le.PutUint64(packed[8:], uint64(len(raw)))
		le.PutUint64(packed[16:], 1)
		packed = enc.EncodeAll(raw, packed)
		h := out[headers+uint64(64*i):]
		le.PutUint64(h[8:], le.Uint64(h[8:])|uint64(elf.SHF_COMPRESSED))
		le.PutUint64(h[24:], uint64(len(out)))
		le.PutUint64(h[32:], uint64(len(packed)))
		out = append(out, packed...)
	}
	return out
}

func TestCompressedSections(t *testing.T) {
	plain, err := New("plain", read(t, "gcc-dwarf5.elf"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := plain.Section(".debug_info")
	if err != nil || len(want) == 0 {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"zlib": read(t, "gcc-dwarf5-zlib.elf"),
		"zstd": withZstd(t, read(t, "gcc-dwarf5.elf"), ".debug_info"),
	} {
		f, err := New(name, data)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, err := f.Section(".debug_info"); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes, want %d: %v", name, len(got), len(want), err)
			}
		}
	}
}

// A section that claims to grow beyond all bounds is refused before it does.
func TestForgedSize(t *testing.T) {
	data := withZstd(t, read(t, "gcc-dwarf5.elf"), ".debug_info")
	e, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	at := e.Section(".debug_info").Offset
	for _, size := range []uint64{1 << 62, 1 << 40, 1, 0} {
		binary.LittleEndian.PutUint64(data[at+8:], size)
		f, err := New("forged", data)
		if err != nil {
			continue
		}
		if got, err := f.Section(".debug_info"); err == nil && len(got) > 0 {
			t.Errorf("a size of %d was taken", size)
		}
	}
}

func TestDebugLink(t *testing.T) {
	f, err := New("separate", read(t, "separate.elf"))
	if err != nil {
		t.Fatal(err)
	}
	name, crc := f.DebugLink()
	if name != "separate.debug" || crc != crc32.ChecksumIEEE(read(t, "separate.debug")) {
		t.Errorf("%s %08x", name, crc)
	}
	if err := CheckCRC(built+name, crc); err != nil {
		t.Error(err)
	}
	if err := CheckCRC(built+name, crc+1); err == nil {
		t.Error("a wrong CRC is taken")
	}
}

func TestMiniDebug(t *testing.T) {
	f, err := New("separate", read(t, "separate.elf"))
	if err != nil {
		t.Fatal(err)
	}
	if list, err := f.Symbols(); err != nil || len(list) > 0 {
		t.Errorf("a stripped file has symbols: %v, %v", list, err)
	}
	mini, err := f.MiniDebug()
	if err != nil {
		t.Fatal(err)
	}
	list, err := mini.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.Name == "entry" && s.Value != 0 && s.Type == elf.STT_FUNC {
			return
		}
	}
	t.Errorf("entry is not among %d symbols", len(list))
}

func TestAltLink(t *testing.T) {
	for _, name := range []string{"dwz", "dwz5"} {
		f, err := New(name, read(t, name+"-a.elf"))
		if err != nil {
			t.Fatal(err)
		}
		common, err := New(name, read(t, name+".common"))
		if err != nil {
			t.Fatal(err)
		}
		file, id := f.AltLink()
		if file != name+".common" || len(id) == 0 || !bytes.Equal(id, common.SupplementID()) {
			t.Errorf("%s: %q %x, the shared file has %x", name, file, id, common.SupplementID())
		}
	}
}

// Sections of a module do not overlap, and its symbols lie in them.
func TestModuleLayout(t *testing.T) {
	f, err := New("module", read(t, "gcc-dwarf5-module.ko"))
	if err != nil {
		t.Fatal(err)
	}
	end := uint64(0)
	for _, s := range f.Loaded() {
		if s.Addr < end {
			t.Errorf("%s at %#x overlaps what ends at %#x", s.Name, s.Addr, end)
		}
		end = s.Addr + s.Size
	}
	list, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	loaded := f.Loaded()
	for _, sym := range list {
		for _, s := range loaded {
			if h, ok := f.SectionOf(sym); ok && h.Name == s.Name && (sym.Value < s.Addr || sym.Value+sym.Size > s.Addr+s.Size) {
				t.Errorf("%s at %#x lies outside %s", sym.Name, sym.Value, s.Name)
			}
		}
	}
}

func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string][]byte{"empty": nil, "text": []byte("text"), "magic": []byte(elf.ELFMAG), "zeros": make([]byte, 4096)} {
		path := filepath.Join(dir, name)
		os.WriteFile(path, data, 0o600)
		if f, err := Open(path); err == nil {
			f.Close()
			t.Errorf("%s was opened", name)
		}
	}
	if _, err := Open(dir); err == nil {
		t.Error("a directory was opened")
	}
}

// A file that is cut short while it is mapped gives an error, not a signal.
func TestCutShort(t *testing.T) {
	data := read(t, "gcc-dwarf5.elf")
	data = append(data, make([]byte, 1<<20)...)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	_, _ = f.Section(".debug_info")
	_ = f.BuildID()
	if _, err := f.Symbols(); err == nil {
		t.Log("the symbols were still in memory")
	}
}

// FuzzSections reads all that there is in damaged files.
func FuzzSections(f *testing.F) {
	for _, name := range []string{"gcc-dwarf5-zlib.elf", "gcc-dwarf4-zdebug.elf", "gcc-dwarf5-module.ko", "separate.elf", "dwz5-a.elf"} {
		f.Add(read(f, name))
	}
	f.Add(withZstd(f, read(f, "gcc-dwarf5.elf"), ".debug_info"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := New("fuzz", data)
		if err != nil {
			return
		}
		for _, name := range []string{".debug_info", ".debug_str", ".debug_line", ".symtab"} {
			_, _ = file.Section(name)
		}
		_, _ = file.Symbols()
		_ = file.BuildID()
		_ = file.Loaded()
		_, _ = file.DebugLink()
		_, _ = file.AltLink()
		if mini, err := file.MiniDebug(); err == nil && mini != nil {
			_, _ = mini.Symbols()
		}
	})
}
