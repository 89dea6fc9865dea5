package dump_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// writeAll writes files by these names into a new directory.
func writeAll(t testing.TB, name string, files [][]byte) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i, data := range files {
		path := filepath.Join(dir, fmt.Sprintf(name, i+1))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func TestSplit(t *testing.T) {
	mem := testMachine(4096)
	type variant struct {
		bits, version, parts int
		flat                 bool
	}
	variants := []variant{{64, 6, 2, true}, {64, 6, 7, false}}
	for version := 2; version <= 6; version++ {
		variants = append(variants, variant{64, version, 3, false}, variant{32, version, 3, false})
	}
	for _, v := range variants {
		t.Run(fmt.Sprintf("%dbit-v%d-flat=%v-%dparts", v.bits, v.version, v.flat, v.parts), func(t *testing.T) {
			cfg := testConfig(4096)
			cfg.Version, cfg.Bits, cfg.Codec = v.version, v.bits, dumpwriter.All(dumpwriter.Snappy)
			if v.bits == 32 {
				cfg.Uts.Machine = "i686"
			}
			paths := writeAll(t, "vmcore-%d.part", splitFiles(t, mem, cfg, v.parts, v.flat))
			slices.Reverse(paths)
			img := mustOpen(t, paths)
			checkMemory(t, img, mem, 4096)
			if f := img.Facts(); len(f.Files) != v.parts || f.Incomplete || len(f.Warnings) > 0 ||
				!slices.Contains(f.Variant, fmt.Sprintf("split in %d parts", v.parts)) {
				t.Errorf("files %q, variant %q, warnings %q", f.Files, f.Variant, f.Warnings)
			}
			// One part is enough where the others lie beside it.
			checkMemory(t, mustOpen(t, paths[1:2]), mem, 4096)
		})
	}
}

func TestSplitPartMissing(t *testing.T) {
	mem := testMachine(4096)
	paths := writeAll(t, "part%d", splitFiles(t, mem, testConfig(4096), 3, false))
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	img := mustOpen(t, paths[:1])
	if f := img.Facts(); !f.Incomplete || len(f.Files) != 2 || len(f.Warnings) != 1 || !strings.Contains(f.Warnings[0], "was not given") {
		t.Errorf("facts: %+v", f)
	}
	buf := make([]byte, 16)
	kinds := map[error]int{}
	for pfn := range mem.Pages() {
		_, err := img.ReadPhys(buf, pfn*4096)
		switch {
		case err == nil:
			kinds[nil]++
			if mem.State(pfn) != dumpwriter.Present {
				t.Errorf("page %d can be read", pfn)
			}
		case errors.Is(err, dump.ErrMissing):
			kinds[dump.ErrMissing]++
			if state := mem.State(pfn); state == dumpwriter.Excluded || (state == dumpwriter.Present) != strings.Contains(err.Error(), "was not given") {
				t.Errorf("page %d of state %v: %v", pfn, state, err)
			}
		case errors.Is(err, dump.ErrExcluded) && mem.State(pfn) == dumpwriter.Excluded:
			kinds[dump.ErrExcluded]++
		default:
			t.Errorf("page %d: %v", pfn, err)
		}
	}
	if kinds[nil] < 300 || kinds[dump.ErrMissing] < 150 {
		t.Errorf("%v", kinds)
	}
	st, err := dump.Stat(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	states := map[dumpwriter.State]uint64{}
	for pfn := range mem.Pages() {
		states[mem.State(pfn)]++
	}
	if st.Present+st.Missing != states[dumpwriter.Present] || st.Excluded != states[dumpwriter.Excluded] || st.Missing == 0 {
		t.Errorf("counted %+v where the whole dump has %v", st, states)
	}
}

func TestSplitRefuses(t *testing.T) {
	mem := testMachine(4096)
	cfg := testConfig(4096)
	mine := writeAll(t, "mine%d", splitFiles(t, mem, cfg, 3, false))
	write := func(change func(*dumpwriter.Config)) []string {
		c := cfg
		change(&c)
		return writeAll(t, "other%d", splitFiles(t, mem, c, 3, false))
	}
	otherHost := write(func(c *dumpwriter.Config) { c.Uts.Nodename = "another" })
	otherTime := write(func(c *dumpwriter.Config) { c.Time = c.Time.Add(3600e9) })
	otherLevel := write(func(c *dumpwriter.Config) { c.DumpLevel = 1 })
	otherInfo := write(func(c *dumpwriter.Config) { c.VMCoreInfo += "X=1\n" })
	whole := file(t, build(t, dumpwriter.Kdump, mem, cfg))
	elf := file(t, build(t, dumpwriter.ELF, mem, cfg))
	halves := writeAll(t, "halves%d", splitFiles(t, mem, cfg, 2, false))
	for _, test := range []struct {
		name  string
		paths []string
		kind  error
		says  string
	}{
		{"another host", []string{mine[0], otherHost[1]}, dump.ErrDamaged, "not a part of the same dump"},
		{"another time", []string{mine[0], otherTime[1]}, dump.ErrDamaged, "taken at"},
		{"another level", []string{mine[0], otherLevel[1]}, dump.ErrDamaged, "-d 1"},
		{"another VMCOREINFO", []string{mine[0], otherInfo[1]}, dump.ErrDamaged, "VMCOREINFO differs"},
		{"twice the same", []string{mine[0], mine[1], mine[0]}, dump.ErrDamaged, "once"},
		{"another division", []string{mine[0], halves[1], mine[1]}, dump.ErrDamaged, "once"},
		{"a whole dump", []string{mine[0], whole}, dump.ErrDamaged, "whole dump"},
		{"two whole dumps", []string{whole, whole}, dump.ErrDamaged, "whole dump"},
		{"an ELF dump first", []string{elf, mine[0]}, dump.ErrFormat, "ELF dump"},
		{"an ELF dump last", []string{mine[0], elf}, dump.ErrFormat, "no part of"},
		{"a text file", []string{mine[0], file(t, []byte("hello"))}, dump.ErrFormat, "text file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			img, err := dump.Open(test.paths)
			if err == nil {
				img.Close()
				t.Fatal("opened")
			}
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error: %v", err)
			}
		})
	}
}

// TestSplitSiblings: files of other dumps beside a part are left alone, and
// where nobody can tell which parts belong together, none is added.
func TestSplitSiblings(t *testing.T) {
	mem := testMachine(4096)
	cfg := testConfig(4096)
	paths := writeAll(t, "vmcore%d", splitFiles(t, mem, cfg, 3, false))
	other := cfg
	other.Uts.Nodename = "another"
	dir := filepath.Dir(paths[0])
	for name, data := range map[string][]byte{
		"vmcore7":  splitFiles(t, mem, other, 3, false)[0],
		"vmcore8":  []byte("notes about the dump"),
		"vmcoreX":  splitFiles(t, mem, cfg, 3, false)[0],
		"vmcore11": build(t, dumpwriter.Kdump, mem, cfg),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	checkMemory(t, mustOpen(t, paths[:1]), mem, 4096)

	if err := os.WriteFile(filepath.Join(dir, "vmcore12"), splitFiles(t, mem, cfg, 2, false)[1], 0o600); err != nil {
		t.Fatal(err)
	}
	if f := mustOpen(t, paths[:1]).Facts(); len(f.Files) != 1 || !f.Incomplete {
		t.Errorf("files %q", f.Files)
	}
}
