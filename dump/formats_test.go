package dump_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

var allCodecs = []dumpwriter.Codec{dumpwriter.Raw, dumpwriter.Zlib, dumpwriter.LZO, dumpwriter.Snappy, dumpwriter.Zstd}

// testCodecs are the codecs that the larger tables go through: all of them, but
// under the race detector, which takes ten times as long, one raw and one not.
func testCodecs() []dumpwriter.Codec {
	if raceEnabled {
		return allCodecs[:2]
	}
	return allCodecs
}

// machines are the byte orders and word widths, with a machine of each.
var machines = []struct {
	name string
	arch dump.Arch
	bits int
	big  bool
}{
	{"x86_64", dump.ArchX86_64, 64, false},
	{"i686", dump.ArchX86, 32, false},
	{"armv7l", dump.ArchARM, 32, false},
	{"aarch64", dump.ArchARM64, 64, false},
	{"s390x", dump.ArchS390X, 64, true},
	{"ppc", dump.ArchUnknown, 32, true},
	{"ppc64", dump.ArchPPC64, 64, true},
	{"mystery", dump.ArchUnknown, 64, false},
}

// eachMachine runs a test for each of them, with the usual configuration.
func eachMachine(t *testing.T, pageSize int, test func(t *testing.T, cfg dumpwriter.Config, check func(*testing.T, *dump.Facts))) {
	for _, m := range machines {
		t.Run(m.name, func(t *testing.T) {
			cfg := testConfig(pageSize)
			cfg.Uts.Machine, cfg.Bits = m.name, m.bits
			cfg.Order = binary.ByteOrder(binary.LittleEndian)
			if m.big {
				cfg.Order = binary.BigEndian
			}
			test(t, cfg, func(t *testing.T, f *dump.Facts) {
				t.Helper()
				if f.Arch != m.arch || f.Is64 != (m.bits == 64) || f.ByteOrder != cfg.Order || f.PageSize != uint64(pageSize) {
					t.Errorf("facts: %q, 64-bit %v, %v, page size %d", f.Arch, f.Is64, f.ByteOrder, f.PageSize)
				}
				if f.Incomplete || len(f.Warnings) > 0 {
					t.Errorf("incomplete %v, warnings %q", f.Incomplete, f.Warnings)
				}
				if release := f.Uts.Release; release != "6.1.0-test" {
					t.Errorf("release %q", release)
				}
			})
		})
	}
}

func TestELF(t *testing.T) {
	mem := testMachine(4096)
	eachMachine(t, 4096, func(t *testing.T, cfg dumpwriter.Config, check func(*testing.T, *dump.Facts)) {
		for name, data := range map[string][]byte{
			"plain":     build(t, dumpwriter.ELF, mem, cfg),
			"flattened": flattened(t, dumpwriter.ELF, mem, cfg),
		} {
			t.Run(name, func(t *testing.T) {
				path := file(t, data)
				for _, opts := range [][]dump.Option{nil, {dump.WithoutMapping()}} {
					img := mustOpen(t, []string{path}, opts...)
					check(t, img.Facts())
					checkMemory(t, img, mem, 4096)
				}
			})
		}
	})
}

func TestKdump(t *testing.T) {
	mem := testMachine(4096)
	eachMachine(t, 4096, func(t *testing.T, cfg dumpwriter.Config, check func(*testing.T, *dump.Facts)) {
		for version := dumpwriter.Version0; version <= 6; version++ {
			if version == 0 || raceEnabled && version < 5 {
				continue
			}
			cfg.Version = version
			cfg.Codec = dumpwriter.Mix(allCodecs...)
			t.Run(fmt.Sprint("version", max(version, 0)), func(t *testing.T) {
				data := build(t, dumpwriter.Kdump, mem, cfg)
				img := mustOpen(t, []string{file(t, data)})
				check(t, img.Facts())
				checkMemory(t, img, mem, 4096)
				if has := img.Facts().VMCoreInfo != nil; has != (version >= 3) {
					t.Errorf("VMCOREINFO found: %v", has)
				}
			})
		}
	})
}

func TestKdumpCodecs(t *testing.T) {
	sizes := []int{4096, 65536}
	if testing.Short() {
		sizes = sizes[:1]
	}
	for _, pageSize := range sizes {
		mem := testMachine(pageSize)
		if pageSize > 4096 { // a smaller machine of larger pages
			maps.DeleteFunc(mem, func(pfn uint64, _ []byte) bool { return pfn >= 300 })
		}
		for _, codec := range testCodecs() {
			t.Run(fmt.Sprint(codec, pageSize), func(t *testing.T) {
				cfg := testConfig(pageSize)
				cfg.Codec = dumpwriter.All(codec)
				plain := file(t, build(t, dumpwriter.Kdump, mem, cfg))
				flat := file(t, flattened(t, dumpwriter.Kdump, mem, cfg))
				for _, path := range []string{plain, flat} {
					for _, opts := range [][]dump.Option{nil, {dump.WithoutMapping()}, {dump.WithCache(1)}} {
						checkMemory(t, mustOpen(t, []string{path}, opts...), mem, pageSize)
					}
				}
			})
		}
	}
}

// TestHeaderFacts: what only the kdump header says.
func TestHeaderFacts(t *testing.T) {
	cfg := testConfig(4096)
	cfg.DumpLevel = 1 | 16
	cfg.VMCoreInfo = "OSRELEASE=6.1.0-test\n"
	f := mustOpen(t, []string{file(t, build(t, dumpwriter.Kdump, testMachine(4096), cfg))}, dump.WithoutScan()).Facts()
	want := dump.Utsname{Sysname: "Linux", Nodename: "crashed", Release: "6.1.0-test", Version: "#1 SMP", Machine: "x86_64"}
	if f.Uts != want || !f.Time.Equal(cfg.Time) || f.DumpLevel != 17 || f.Version != 6 ||
		!f.PhysBaseValid || f.PhysBase != cfg.PhysBase || f.MaxPhys != 700*4096 {
		t.Errorf("%+v", f)
	}
	if kinds := f.ExcludedKinds(); !slices.Equal(kinds, []string{"pages of zeros", "free pages"}) {
		t.Errorf("%q", kinds)
	}
	cfg.Uts, cfg.VMCoreInfo = dumpwriter.Utsname{Machine: "x86_64"}, "OSRELEASE=6.1.0-test\nNUMBER(phys_base)=4096\n"
	f = mustOpen(t, []string{file(t, build(t, dumpwriter.Kdump, testMachine(4096), cfg))}).Facts()
	if f.PhysBaseValid || len(f.Warnings) > 0 || f.Uts.Release != "6.1.0-test" || !slices.Contains(f.Variant, "captured by QEMU") {
		t.Errorf("a header like QEMU's: %+v", f)
	}
	cfg = testConfig(4096)
	cfg.VMCoreInfo = "OSRELEASE=5.0\nPAGESIZE=65536\nNUMBER(phys_base)=4096\n"
	f = mustOpen(t, []string{file(t, build(t, dumpwriter.Kdump, testMachine(4096), cfg))}).Facts()
	if len(f.Warnings) != 3 {
		t.Errorf("sources that disagree: %q", f.Warnings)
	}
}

// splitFiles writes a split dump and returns its files by their names.
func splitFiles(t testing.TB, mem dumpwriter.Memory, cfg dumpwriter.Config, parts int, flat bool) [][]byte {
	t.Helper()
	plain := make([]dumpwriter.Buffer, parts)
	piped := make([]bytes.Buffer, parts)
	writers := make([]io.WriterAt, parts)
	for i := range writers {
		writers[i] = &plain[i]
		if flat {
			writers[i] = dumpwriter.NewFlattener(&piped[i])
		}
	}
	if err := dumpwriter.Split(writers, mem, cfg); err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for i := range writers {
		if flat {
			if err := writers[i].(*dumpwriter.Flattener).Close(); err != nil {
				t.Fatal(err)
			}
			out = append(out, piped[i].Bytes())
			continue
		}
		out = append(out, plain[i].Bytes())
	}
	return out
}
