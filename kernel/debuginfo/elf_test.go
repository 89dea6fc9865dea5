package debuginfo_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/kmortem/mortem/kernel/debuginfo"
)

func open(t testing.TB, path string, opts ...debuginfo.Option) debuginfo.Source {
	t.Helper()
	src, err := debuginfo.Open(path, append([]debuginfo.Option{debuginfo.CacheDir(t.TempDir())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// The spellings are those of the sources in testdata.
func TestVariablesAndFunctions(t *testing.T) {
	variables := map[string]string{
		"everything":  "struct everything everything", // named through DW_AT_specification
		"some_bits":   "struct bits some_bits",
		"arrays":      "struct arrays *arrays",
		"holes":       "struct holes holes[4]",
		"hidden":      "struct opaque *hidden",
		"sign":        "enum signedness sign",
		"later":       "struct later later",
		"local_first": "struct local local_first",
	}
	for _, path := range built(t) {
		src := open(t, path)
		for name, want := range variables {
			typ, err := src.Variable(name)
			if err != nil {
				t.Errorf("%s: %v", path, err)
			} else if got := typ.Declare(name); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		f, err := src.Function("entry")
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if got, want := f.Declare("entry"), "int entry(struct everything *e, int count)"; got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// Each unit's own struct counts where two have one name.
func TestStructsOfOneName(t *testing.T) {
	for _, path := range built(t) {
		src := open(t, path)
		for variable, member := range map[string]string{"local_first": "in_first", "local_second": "in_second"} {
			typ, err := src.Variable(variable)
			if err != nil || !typ.HasField(member) {
				t.Errorf("%s: %s of type %v lacks %s (%v)", path, variable, typ, member, err)
			}
		}
	}
}

func TestAllTypes(t *testing.T) {
	for _, path := range built(t) {
		src := open(t, path)
		for name, want := range map[string]int{"struct local": 2, "struct everything": 1, "u64": 1, "enum colour": 1, "struct inside": 1} {
			list, err := src.(debuginfo.Ambiguous).AllTypes(name)
			first, _ := src.Type(name)
			if name == "struct inside" && len(list) > 0 && first == nil && list[0].Size() == 16 {
				first = list[0] // it is inside of a function
			}
			if err != nil || len(list) != want || list[0] != first {
				t.Errorf("%s: %d types %s, want %d (%v)", path, len(list), name, want, err)
			}
		}
		if _, err := src.(debuginfo.Ambiguous).AllTypes("struct nothing"); !errors.Is(err, debuginfo.ErrNotFound) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A type is the same object by whichever way it is reached, and what one unit
// only declares is the definition of another unit.
func TestTypeIdentity(t *testing.T) {
	for _, path := range built(t) {
		src := open(t, path)
		direct, err := src.Type("struct later")
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		everything, err := src.Variable("everything")
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		f, err := everything.Field("later")
		if err != nil || f.Type.Elem() != direct {
			t.Errorf("%s: struct later by way of a pointer is another type (%v)", path, err)
		}
		opaque, err := src.Type("struct opaque")
		if err == nil && !opaque.Incomplete {
			t.Errorf("%s: struct opaque is complete", path)
		}
	}
}

var readelfID = regexp.MustCompile(`Build ID: ([0-9a-f]+)`)

func TestBuildIDAndSymbols(t *testing.T) {
	for _, name := range []string{"gcc-dwarf5.elf", "separate.elf", "gcc-dwarf5-module.ko"} {
		path := filepath.Join("testdata/built", name)
		src := open(t, path)
		if out, err := exec.Command("readelf", "-n", path).Output(); err == nil {
			if want := readelfID.FindSubmatch(out); string(want[1]) != hex.EncodeToString(src.BuildID()) {
				t.Errorf("%s: build id %x, readelf says %s", name, src.BuildID(), want[1])
			}
		}
		entry, ok := src.Symbols().Lookup("entry")
		if !ok || entry.Kind != debuginfo.SymbolText || !entry.Global {
			t.Errorf("%s: symbol entry: %+v", name, entry)
		}
	}
}

// A vmlinux without DWARF but with BTF has types and symbols, though of
// variables only the types that BTF has.
func TestBTFOnly(t *testing.T) {
	src := open(t, "testdata/built/btf-only.vmlinux")
	if typ, err := src.Type("struct everything"); err != nil || typ.Size() == 0 || !typ.HasField("ops.call") {
		t.Errorf("struct everything: %v %v", typ, err)
	}
	if _, ok := src.Symbols().Lookup("entry"); !ok || len(src.BuildID()) == 0 {
		t.Error("no symbol entry, or no build id")
	}
	if _, err := src.Variable("later"); !errors.Is(err, debuginfo.ErrNotFound) || !strings.Contains(err.Error(), "BTF") {
		t.Errorf("variable: %v", err)
	}
}

// Stripped files have the symbols of functions in .gnu_debugdata.
func TestMiniDebug(t *testing.T) {
	dir := t.TempDir()
	copyFile(t, "testdata/built/separate.elf", filepath.Join(dir, "vmlinux"))
	_, err := debuginfo.Open(filepath.Join(dir, "vmlinux"))
	if err == nil || !strings.Contains(err.Error(), "no DWARF debug information") {
		t.Errorf("without its debug file: %v", err)
	}
}

func TestDebugLinkOfAnotherBuild(t *testing.T) {
	dir := t.TempDir()
	copyFile(t, "testdata/built/separate.elf", filepath.Join(dir, "vmlinux"))
	copyFile(t, "testdata/built/gcc-dwarf4.elf", filepath.Join(dir, "separate.debug"))
	_, err := debuginfo.Open(filepath.Join(dir, "vmlinux"))
	if err == nil || !strings.Contains(err.Error(), "build id") {
		t.Errorf("with another build's debug file: %v", err)
	}
}

func TestBuildIDTree(t *testing.T) {
	dir := t.TempDir()
	vmlinux := filepath.Join(dir, "vmlinux")
	copyFile(t, "testdata/built/separate.elf", vmlinux)
	id := open(t, "testdata/built/separate.elf").BuildID()
	target := debuginfo.BuildIDPath(filepath.Join(dir, "tree"), id, ".debug")
	copyFile(t, "testdata/built/separate.debug", target)
	checkFacts(t, open(t, vmlinux, debuginfo.DebugDir(filepath.Join(dir, "tree"))))
}

func TestMissingShared(t *testing.T) {
	dir := t.TempDir()
	copyFile(t, "testdata/built/dwz-a.elf", filepath.Join(dir, "a.elf"))
	if _, err := debuginfo.Open(filepath.Join(dir, "a.elf")); err == nil || !strings.Contains(err.Error(), "dwz.common") {
		t.Errorf("without what dwz moved: %v", err)
	}
}

func TestMissingSplit(t *testing.T) {
	dir := t.TempDir()
	copyFile(t, "testdata/built/split5.elf", filepath.Join(dir, "a.elf"))
	if _, err := debuginfo.Open(filepath.Join(dir, "a.elf")); err == nil || !strings.Contains(err.Error(), ".dwo") {
		t.Errorf("without the .dwo files: %v", err)
	}
}

func TestWholeFileCompression(t *testing.T) {
	plain, err := os.ReadFile("testdata/built/gcc-dwarf5.elf")
	if err != nil {
		t.Fatal(err)
	}
	packed := map[string]func(*bytes.Buffer){
		"vmlinux.xz":  func(b *bytes.Buffer) { w, _ := xz.NewWriter(b); w.Write(plain); w.Close() },
		"vmlinux.gz":  func(b *bytes.Buffer) { w := gzip.NewWriter(b); w.Write(plain); w.Close() },
		"vmlinux.zst": func(b *bytes.Buffer) { w, _ := zstd.NewWriter(b); w.Write(plain); w.Close() },
	}
	for name, pack := range packed {
		var b bytes.Buffer
		pack(&b)
		dir := t.TempDir()
		path, cache := filepath.Join(dir, name), filepath.Join(dir, "cache")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			checkFacts(t, open(t, path, debuginfo.CacheDir(cache)))
		}
		found, _ := filepath.Glob(filepath.Join(cache, "unpacked", "*"))
		if len(found) != 1 {
			t.Errorf("%s: the cache has %d files", name, len(found))
		}
		checkFacts(t, open(t, path, debuginfo.NoCache()))

		if err := os.WriteFile(path, b.Bytes()[:b.Len()-40], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := debuginfo.Open(path, debuginfo.CacheDir(cache)); err == nil {
			t.Errorf("%s: cut short, and no error", name)
		}
	}
}

func TestUnusableFiles(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	empty := filepath.Join(dir, "empty")
	cut := filepath.Join(dir, "cut")
	os.WriteFile(text, []byte("no kernel\n"), 0o600)
	os.WriteFile(empty, nil, 0o600)
	whole, _ := os.ReadFile("testdata/built/gcc-dwarf5.elf")
	os.WriteFile(cut, whole[:len(whole)/2], 0o600)
	for _, path := range []string{text, empty, dir, cut, filepath.Join(dir, "missing")} {
		src, err := debuginfo.Open(path)
		if err == nil {
			src.Close()
			t.Errorf("%s: no error", path)
		} else if !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("the message is not one line that names the file: %v", err)
		}
	}
	if _, err := debuginfo.Open(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestNotFound(t *testing.T) {
	src := open(t, "testdata/built/gcc-dwarf5.elf")
	_, err1 := src.Type("struct nothing")
	_, err2 := src.Variable("nothing")
	_, _, err3 := src.Enumerator("NOTHING")
	_, err4 := src.Function("nothing")
	_, err5 := src.Type("struct everything extra")
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if !errors.Is(err, debuginfo.ErrNotFound) {
			t.Errorf("%v is no ErrNotFound", err)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o700)
	}
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
