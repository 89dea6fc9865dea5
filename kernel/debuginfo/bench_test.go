package debuginfo_test

import (
	stddwarf "debug/dwarf"
	"debug/elf"
	"os"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// vmlinux is the debug file that benchmarks and long tests read: the one that
// MORTEM_TEST_VMLINUX names, such as a distribution's, or the fixture's.
func vmlinux(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("MORTEM_TEST_VMLINUX"); path != "" {
		return path
	}
	return fixtures.Unpacked(t, "vmlinux.xz")
}

// sizeOf reports the benchmark's bytes as those of .debug_info.
func sizeOf(b *testing.B, path string) {
	file, err := elf.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	if s := file.Section(".debug_info"); s != nil {
		b.SetBytes(int64(s.Size))
	}
}

// BenchmarkOpenToFirstType opens vmlinux without an index file and reads the
// members of one struct.
func BenchmarkOpenToFirstType(b *testing.B) {
	path := vmlinux(b)
	sizeOf(b, path)
	b.ReportAllocs()
	for b.Loop() {
		src, err := debuginfo.Open(path, debuginfo.NoCache())
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

// BenchmarkOpenToFirstTypeStdlib does the same work with the standard library:
// it reads the names at the top level of all units, and then one struct.
func BenchmarkOpenToFirstTypeStdlib(b *testing.B) {
	path := vmlinux(b)
	sizeOf(b, path)
	b.ReportAllocs()
	for b.Loop() {
		file, err := elf.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		data, err := file.DWARF()
		if err != nil {
			b.Fatal(err)
		}
		names := map[string]stddwarf.Offset{}
		for r := data.Reader(); ; {
			e, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			if e == nil {
				break
			}
			if e.Tag == stddwarf.TagCompileUnit {
				continue
			}
			if name, ok := e.Val(stddwarf.AttrName).(string); ok && e.Val(stddwarf.AttrDeclaration) == nil {
				names[e.Tag.String()+name] = e.Offset
			}
			r.SkipChildren()
		}
		t, err := data.Type(names["StructTypedentry"])
		if err != nil || t.Size() == 0 {
			b.Fatal(err)
		}
		file.Close()
	}
}

// BenchmarkEnumeratorFirst finds one constant, which makes the index of all.
func BenchmarkEnumeratorFirst(b *testing.B) {
	path := vmlinux(b)
	sizeOf(b, path)
	for b.Loop() {
		b.StopTimer()
		src, err := debuginfo.Open(path, debuginfo.NoCache())
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, _, err := src.Enumerator("PG_slab"); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		src.Close()
		b.StartTimer()
	}
}

// BenchmarkTypeAgain looks up types that were decoded before.
func BenchmarkTypeAgain(b *testing.B) {
	src := open(b, vmlinux(b))
	for b.Loop() {
		t, err := src.Type("struct task_struct")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := t.Field("comm"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSymbols reads the symbol table and makes both of its orders.
func BenchmarkSymbols(b *testing.B) {
	path := vmlinux(b)
	for b.Loop() {
		b.StopTimer()
		src, err := debuginfo.Open(path, debuginfo.NoCache())
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		s := src.Symbols()
		sym, ok := s.Lookup("init_task")
		if _, found := s.Containing(sym.Addr + 8); !ok || !found {
			b.Fatal("init_task is not found")
		}
		b.StopTimer()
		b.ReportMetric(float64(s.Len()), "symbols")
		src.Close()
		b.StartTimer()
	}
}
