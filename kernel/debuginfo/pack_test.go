package debuginfo_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

func packOf(t testing.TB, src debuginfo.Source, modules ...debuginfo.Module) debuginfo.Source {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.mpack")
	if err := debuginfo.WritePack(path, src, modules); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err == nil {
		t.Logf("%d bytes", info.Size())
	}
	return open(t, path)
}

func TestPackFacts(t *testing.T) {
	for _, path := range built(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			src := open(t, path)
			pack := packOf(t, src)
			checkFacts(t, pack)
			if string(pack.BuildID()) != string(src.BuildID()) {
				t.Errorf("build id %x, was %x", pack.BuildID(), src.BuildID())
			}
			comparePrints(t, src, pack)
			compareSymbols(t, src.Symbols(), pack.Symbols())
			compareLines(t, src, pack)
		})
	}
}

// comparePrints compares all named types as they are printed.
func comparePrints(t *testing.T, a, b debuginfo.Source) {
	t.Helper()
	names := a.(debuginfo.Names)
	n, bad := 0, 0
	for name := range names.Types() {
		if name == "struct local" {
			continue // the sources define two, either can stand for the name in a pack file of modules
		}
		x, y := printed(t, a, name), printed(t, b, name)
		// BTF has no _Atomic, and no arrays of 0 elements that are not flexible.
		x = strings.ReplaceAll(x, "[0]", "[]")
		if n++; squeeze(x) != squeeze(y) && !strings.Contains(x, "only declared") { // the kernel may define what a module only declares
			if bad++; bad < 5 {
				t.Errorf("%s:\n%s\nbecame\n%s", name, x, y)
			}
		}
	}
	for name := range names.Variables() {
		x, err1 := a.Variable(name)
		y, err2 := b.Variable(name)
		if err1 != nil || err2 != nil || strings.ReplaceAll(x.Declare(name), "[0]", "[]") != y.Declare(name) {
			t.Errorf("variable %v became %v (%v, %v)", x, y, err1, err2)
		}
	}
	for name := range names.Functions() {
		x, err1 := a.Function(name)
		y, err2 := b.Function(name)
		if err1 != nil || err2 != nil || strings.ReplaceAll(x.Declare(name), "[0]", "[]") != y.Declare(name) {
			t.Errorf("function %v became %v (%v, %v)", x, y, err1, err2)
		}
	}
	if n == 0 || bad > 0 {
		t.Errorf("%d of %d types differ", bad, n)
	}
}

// squeeze makes runs of blanks one, for comments move when a declaration gets
// shorter.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func compareSymbols(t *testing.T, a, b *debuginfo.Symbols) {
	t.Helper()
	x, y := slices.Collect(a.All()), slices.Collect(b.All())
	if !slices.Equal(x, y) {
		t.Errorf("%d symbols became %d", len(x), len(y))
	}
}

// compareLines compares the lines of all code of the small programs, or of a
// sample.
func compareLines(t *testing.T, a, b debuginfo.Source) {
	t.Helper()
	var addrs []uint64
	for s := range a.Symbols().All() {
		if s.Kind == debuginfo.SymbolText {
			for i := range min(s.Size, 500) {
				addrs = append(addrs, s.Addr+i)
			}
		}
	}
	if len(addrs) > 10000 {
		addrs = sampleText(a, 10000)
	}
	bad, between := 0, 0
	for _, addr := range addrs {
		x, ok1 := a.(debuginfo.Lines).Line(addr)
		y, ok2 := b.(debuginfo.Lines).Line(addr)
		x.Column = 0
		if !ok1 && ok2 { // what fills the room behind a function
			between++
			continue
		}
		if ok1 != ok2 || x != y {
			if bad++; bad < 5 {
				t.Errorf("line of %#x: %v became %v (%v %v)", addr, x, y, ok1, ok2)
			}
		}
	}
	if bad > 0 || between > len(addrs)/200 {
		t.Errorf("%d of %d lines differ, %d have one in the pack only", bad, len(addrs), between)
	}
}

// A module's types are its own where they differ from the kernel's.
func TestPackModules(t *testing.T) {
	kernel := open(t, "testdata/built/gcc-dwarf5.elf")
	module := open(t, "testdata/built/gcc-dwarf5-module.ko")
	pack := packOf(t, kernel, debuginfo.Module{Name: "small", Source: module})
	list := pack.(debuginfo.HasModules)
	if fmt.Sprint(list.Modules()) != "[small]" {
		t.Errorf("modules: %v", list.Modules())
	}
	m, err := list.Module("small")
	if err != nil {
		t.Fatal(err)
	}
	checkFacts(t, m)
	comparePrints(t, module, m)
	compareSymbols(t, module.Symbols(), m.Symbols())
	compareLines(t, module, m)
	if fmt.Sprint(m.(debuginfo.Sections).Loaded()) != fmt.Sprint(module.(debuginfo.Sections).Loaded()) {
		t.Error("the module's sections are lost")
	}
	if _, err := list.Module("other"); err == nil {
		t.Error("a module that is not there was opened")
	}
}

// Whatever byte of a pack file is wrong, it is refused, or answers as before, or says
// that it is damaged where it lacks a line.
func TestDamagedPack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.mpack")
	if err := debuginfo.WritePack(path, open(t, "testdata/built/gcc-dwarf5.elf"), nil); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := answersOf(t, path)
	opened, told := 0, 0
	for i := 0; i < len(whole); i += 29 {
		flipped := slices.Clone(whole)
		flipped[i] ^= 0x21
		os.WriteFile(path, flipped, 0o600)
		if src, err := debuginfo.Open(path); err == nil {
			opened++
			src.Close()
			if got := answersOf(t, path); got.err != nil {
				told++
			} else if got != want {
				t.Errorf("byte %#x: %+v became %+v", i, want, got)
			}
		}
		os.WriteFile(path, whole[:i], 0o600)
		if src, err := debuginfo.Open(path); err == nil {
			src.Close()
			t.Errorf("a pack file cut to %d of %d bytes was opened", i, len(whole))
		}
	}
	if opened == 0 || told == 0 {
		t.Errorf("%d damaged files were opened, %d of them told of it", opened, told)
	}
}

// answers is what a pack file says of a small program.
type answers struct {
	typ, symbol, frame string
	err                error
}

func answersOf(t *testing.T, path string) (a answers) {
	t.Helper()
	src := open(t, path)
	typ, err := src.Type("struct everything")
	a.typ = fmt.Sprint(typ, err, typ.Size(), len(typ.Members()))
	symbol, ok := src.Symbols().Lookup("entry")
	a.symbol = fmt.Sprint(symbol, ok)
	frames, err := src.(debuginfo.Lines).Frames(symbol.Addr)
	a.err = err
	if err == nil {
		a.frame = fmt.Sprint(frames[0].Name, frames[0].Line)
	}
	return a
}

// The same for vmlinux, with the sizes and lines of everything.
func TestPackOfVmlinux(t *testing.T) {
	src := open(t, vmlinux(t))
	pack := packOf(t, src)
	comparePrints(t, src, pack)
	compareSymbols(t, src.Symbols(), pack.Symbols())
	compareLines(t, src, pack)
	if os.Getenv("MORTEM_TEST_VMLINUX") == "" {
		text, err := os.ReadFile(fixtures.Unpacked(t, "vmlinux.pahole.xz"))
		if err != nil {
			t.Fatal(err)
		}
		comparePahole(t, pack, bytes.NewReader(text))
	}
}

// BenchmarkWritePack packs vmlinux.
func BenchmarkWritePack(b *testing.B) {
	src := open(b, vmlinux(b))
	for b.Loop() {
		if err := debuginfo.WritePack(filepath.Join(b.TempDir(), "v.mpack"), src, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenPack opens a pack file and reads the members of one struct.
func BenchmarkOpenPack(b *testing.B) {
	path := filepath.Join(b.TempDir(), "v.mpack")
	if err := debuginfo.WritePack(path, open(b, vmlinux(b)), nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		src, err := debuginfo.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		t, err := src.Type("struct dentry")
		if err != nil || !t.HasField("d_name.hash") {
			b.Fatal(err)
		}
		src.Close()
	}
}
