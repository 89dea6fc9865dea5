package indump_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/dcache"
	"github.com/kmortem/mortem/analysis/dentry"
	"github.com/kmortem/mortem/analysis/supers"
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/indump"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

// open opens the main fixture with the debug information in it.
func open(t testing.TB) (*kernel.Kernel, *indump.Source) {
	t.Helper()
	return openDump(t, fixtures.Path(t, kerneltest.Main))
}

func openDump(t testing.TB, path string) (*kernel.Kernel, *indump.Source) {
	t.Helper()
	image, err := dump.Open([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	mem, err := kernel.OpenMemory(image)
	if err != nil {
		t.Fatal(err)
	}
	src, err := indump.Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, src, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return k, src
}

// TestSymbolsEqualVmlinux: each symbol stands in vmlinux at the same address,
// save what the last passes of the link moved after kallsyms was made.
func TestSymbolsEqualVmlinux(t *testing.T) {
	_, src := open(t)
	type key struct {
		name string
		addr uint64
	}
	linked := map[key]bool{}
	for s := range kerneltest.Info(t).Symbols().All() {
		linked[key{s.Name, s.Addr}] = true
	}
	missing := 0
	for s := range src.Symbols().All() {
		if !linked[key{s.Name, s.Addr}] {
			if missing++; missing < 10 {
				t.Logf("%s at %#x is not in vmlinux", s.Name, s.Addr)
			}
		}
	}
	if n := src.Symbols().Len(); n < 30000 || missing > n/1000 {
		t.Errorf("%d of %d symbols are not in vmlinux", missing, n)
	}
}

// TestSymbolsEqualGuest compares with the guest's /proc/kallsyms.
func TestSymbolsEqualGuest(t *testing.T) {
	k, src := open(t)
	n := 0
	for name, text := range fixtures.Truth(t, "main").Symbols {
		want, err := strconv.ParseUint(text, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "mp_") {
			continue // of the module
		}
		n++
		if got, err := k.Symbol(name); err != nil || got != want {
			t.Errorf("%s is at %#x (%v), was at %#x in the guest", name, got, err, want)
		}
	}
	if n < 20 || src.Symbols().Len() < n {
		t.Errorf("only %d symbols compared", n)
	}
}

// TestTypesEqualDWARF compares each struct and union of BTF with those of
// vmlinux: their sizes, and their members' names, places and types. Where
// files define several of one name, DWARF's choice must be one of BTF's.
func TestTypesEqualDWARF(t *testing.T) {
	_, src := open(t)
	vmlinux := kerneltest.Info(t)
	defined := map[string][]*ctype.Type{}
	for c := range src.Types().All() {
		if c.IsRecord() && c.Kind != ctype.Typedef && !c.Incomplete {
			defined[c.String()] = append(defined[c.String()], c)
		}
	}
	bad, local := 0, 0
	for name, list := range defined {
		want, err := vmlinux.Type(name)
		if err != nil {
			// Declared in a function, and so not at DWARF's top level.
			if local++; local > 10 {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wanted := shape(want)
		if !slices.ContainsFunc(list, func(c *ctype.Type) bool { return shape(c) == wanted }) {
			if bad++; bad < 10 {
				t.Errorf("%s in DWARF:\n%s\nin BTF:\n%s", name, wanted, shape(list[0]))
			}
		}
	}
	if len(defined) < 2500 {
		t.Errorf("only %d structs and unions", len(defined))
	}
	t.Logf("%d structs and unions, %d differ, %d are not at DWARF's top level", len(defined), bad, local)
}

// shape writes down what a struct or union is made of. BTF has arrays of
// several dimensions as one of all elements, and restrict is not everywhere.
func shape(c *ctype.Type) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d\n", c, c.Bytes)
	write(&b, c, 0)
	return b.String()
}

func write(b *strings.Builder, c *ctype.Type, at int64) {
	for _, m := range c.Members() {
		fmt.Fprintf(b, "%q %d:%d:%d size %d", m.Name, at+m.Offset, m.BitOffset, m.BitSize, m.Type.Size())
		elem := m.Type
		for elem.Kind == ctype.Array {
			elem = elem.Elem()
		}
		fmt.Fprintf(b, " %s\n", elem)
		if m.Name == "" && m.Type.IsRecord() {
			write(b, m.Type.Strip(), at+m.Offset)
		}
	}
}

// TestVariablesEqualDWARF compares the list of variables with vmlinux.
func TestVariablesEqualDWARF(t *testing.T) {
	_, src := open(t)
	vmlinux := kerneltest.Info(t)
	n := 0
	for name := range indump.Variables() {
		if _, ok := src.Symbols().Lookup(name); !ok {
			t.Logf("the kernel has no %s", name)
			continue
		}
		n++
		got, err := src.Variable(name)
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := vmlinux.Variable(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if spell(got) != spell(want) {
			t.Errorf("%s is a %s, in vmlinux a %s", name, got, want)
		}
	}
	if n < 60 {
		t.Errorf("only %d variables", n)
	}
}

// spell spells a type without its typedefs and the lengths of arrays.
func spell(c *ctype.Type) string {
	switch s := c.Strip(); s.Kind {
	case ctype.Pointer:
		return spell(s.Elem()) + " *"
	case ctype.Array:
		return spell(s.Elem()) + " []"
	default:
		return s.String()
	}
}

func TestVariable(t *testing.T) {
	_, src := open(t)
	if v, err := src.Variable("runqueues"); err != nil || v.String() != "struct rq" {
		t.Errorf("a per-CPU variable: %v %v", v, err)
	}
	for name, says := range map[string]string{"no_such_variable": "no symbol of that name", "rcu_normal": "vmlinux with DWARF"} {
		if _, err := src.Variable(name); err == nil || !strings.Contains(err.Error(), says) || !errors.Is(err, debuginfo.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEnumeratorsAndFunctions(t *testing.T) {
	_, src := open(t)
	vmlinux := kerneltest.Info(t)
	for _, name := range []string{"PG_slab", "NR_SLAB_RECLAIMABLE_B", "PIDTYPE_MAX", "MODULE_STATE_GOING"} {
		got, _, err := src.Enumerator(name)
		if want, _, wantErr := vmlinux.Enumerator(name); err != nil || wantErr != nil || got != want {
			t.Errorf("%s: %d (%v), in vmlinux %d (%v)", name, got, err, want, wantErr)
		}
	}
	if f, err := src.Function("d_alloc"); err != nil || f.Declare("d_alloc") != "struct dentry *d_alloc(struct dentry *parent, const struct qstr *name)" {
		t.Errorf("%v %v", f, err)
	}
}

func TestBuildID(t *testing.T) {
	_, src := open(t)
	want := kerneltest.Info(t).BuildID()
	if got, noted := src.BuildID(), src.NotedBuildID(); !bytes.Equal(got, want) || !bytes.Equal(noted, want) {
		t.Errorf("build id %x, in the notes %x, vmlinux has %x", got, noted, want)
	}
}

// TestSameAnswers is what it is all for: the answers from vmlinux and from
// nothing are the same, byte for byte.
func TestSameAnswers(t *testing.T) {
	for boot, path := range map[string]func(t testing.TB) string{
		"main":  func(t testing.TB) string { return fixtures.Path(t, kerneltest.Main) },
		"kdump": func(t testing.TB) string { return fixtures.Unpacked(t, "kdump/vmcore.kdump") },
	} {
		t.Run(boot, func(t *testing.T) { sameAnswers(t, path(t)) })
	}
}

func sameAnswers(t *testing.T, path string) {
	k, _ := openDump(t, path)
	fs, err := vfs.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	with := kerneltest.FS(t, path)
	for name, ask := range map[string]func(fs *vfs.FS) (any, error){
		"dcache": func(fs *vfs.FS) (any, error) {
			return dcache.Analyze(context.Background(), fs, dcache.Options{Entries: 1000})
		},
		"supers": func(fs *vfs.FS) (any, error) { return supers.Analyze(context.Background(), fs) },
		"dentry": func(fs *vfs.FS) (any, error) {
			d, err := dentry.Find(fs, "/proc/sys/net")
			if err != nil {
				return nil, err
			}
			return dentry.Describe(fs, d, dentry.Options{Children: 100})
		},
	} {
		if got, want := answer(t, fs, ask), answer(t, with, ask); got != want {
			t.Errorf("%s: %d bytes from nothing, %d from vmlinux; the first difference: %s", name, len(got), len(want), difference(got, want))
		}
	}
}

func answer(t *testing.T, fs *vfs.FS, ask func(fs *vfs.FS) (any, error)) string {
	t.Helper()
	report, err := ask(fs)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(report, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func difference(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	part := func(s string) string { return s[max(0, i-80):min(len(s), i+80)] }
	return fmt.Sprintf("%q against %q", part(a), part(b))
}

// TestORC compares the unwind data with the sizes that the guest's symbols give.
func TestORC(t *testing.T) {
	k, src := open(t)
	orc, err := src.ORC()
	if err != nil {
		t.Fatal(err)
	}
	start, err := strconv.ParseUint(fixtures.Truth(t, "main").Symbols["__start_orc_unwind_ip"], 16, 64)
	if err != nil || orc.IPAddr != start {
		t.Errorf("its addresses are at %#x, were at %#x in the guest", orc.IPAddr, start)
	}
	last := uint64(0)
	for i := range len(orc.IP) / 4 {
		off := int32(uint32(orc.IP[4*i]) | uint32(orc.IP[4*i+1])<<8 | uint32(orc.IP[4*i+2])<<16 | uint32(orc.IP[4*i+3])<<24)
		at := orc.IPAddr + uint64(4*i) + uint64(int64(off))
		if at < last {
			t.Fatalf("entry %d is of %#x, behind one of %#x", i, at, last)
		}
		last = at
	}
	if _, _, ok := k.SymbolAt(last); !ok {
		t.Errorf("the last entry is of %#x, outside of the kernel", last)
	}
}

func BenchmarkOpenToFirstType(b *testing.B) {
	image, err := dump.Open([]string{fixtures.Path(b, kerneltest.Main)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		mem, err := kernel.OpenMemory(image)
		if err != nil {
			b.Fatal(err)
		}
		src, err := indump.Open(mem)
		if err != nil {
			b.Fatal(err)
		}
		if c, err := src.Type("struct dentry"); err != nil || len(c.Members()) == 0 {
			b.Fatal(err)
		}
	}
}

func ExampleOpen() {
	image, err := dump.Open([]string{"../../fixtures/data/main/vmcore.kdump"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer image.Close()
	mem, err := kernel.OpenMemory(image)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	info, err := indump.Open(mem)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	init := k.Object("init_task")
	comm, err := init.Field("comm").Text()
	fmt.Println(init.Type(), comm, err)
	// Output: struct task_struct swapper/0 <nil>
}
