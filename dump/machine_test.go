package dump_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// testMachine is a small machine with a hole in its memory, excluded pages,
// pages of zeros, pages that do not shrink, and pages that do.
func testMachine(pageSize int) dumpwriter.PageMap {
	rng := rand.New(rand.NewSource(3))
	m := dumpwriter.PageMap{}
	for pfn := uint64(0); pfn < 700; pfn++ {
		page := make([]byte, pageSize)
		switch {
		case pfn >= 160 && pfn < 256:
			continue // a hole
		case pfn%7 == 3 || pfn >= 500 && pfn < 530:
			m[pfn] = nil
			continue
		case pfn%5 == 1: // zeros
		case pfn%11 == 2:
			rng.Read(page)
		default:
			for i := 0; i < len(page); i += 64 {
				binary.LittleEndian.PutUint64(page[i:], 0xffff888000000000+pfn*4096+uint64(i))
				copy(page[i+8:], "struct dentry")
			}
		}
		m[pfn] = page
	}
	return m
}

const testInfo = "OSRELEASE=6.1.0-test\nPAGESIZE=%d\nSYMBOL(init_uts_ns)=ffffffff82c15c40\nNUMBER(phys_base)=-4194304\nCRASHTIME=1700000000\n"

// testConfig is a machine's identity to go with testMachine.
func testConfig(pageSize int) dumpwriter.Config {
	return dumpwriter.Config{
		PageSize:   pageSize,
		Uts:        dumpwriter.Utsname{Sysname: "Linux", Nodename: "crashed", Release: "6.1.0-test", Version: "#1 SMP", Machine: "x86_64"},
		VMCoreInfo: fmt.Sprintf(testInfo, pageSize),
		Time:       time.Unix(1699999999, 0),
		PhysBase:   -4194304,
		DumpLevel:  31,
	}
}

// zlibConfig is testConfig with packed pages.
func zlibConfig() dumpwriter.Config {
	cfg := testConfig(4096)
	cfg.Codec = dumpwriter.All(dumpwriter.Zlib)
	return cfg
}

// file writes a dump into a file of a test.
func file(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vmcore")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// build runs a writer into memory.
func build(t testing.TB, write func(w io.WriterAt, mem dumpwriter.Memory, cfg dumpwriter.Config) error, mem dumpwriter.Memory, cfg dumpwriter.Config) []byte {
	t.Helper()
	var b dumpwriter.Buffer
	if err := write(&b, mem, cfg); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// flattened runs a writer through a Flattener.
func flattened(t testing.TB, write func(w io.WriterAt, mem dumpwriter.Memory, cfg dumpwriter.Config) error, mem dumpwriter.Memory, cfg dumpwriter.Config) []byte {
	t.Helper()
	var b bytes.Buffer
	f := dumpwriter.NewFlattener(&b)
	if err := errors.Join(write(f, mem, cfg), f.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mustOpen(t testing.TB, paths []string, opts ...dump.Option) dump.Image {
	t.Helper()
	img, err := dump.Open(paths, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return img
}

// checkMemory compares an image with the machine it was made of, by every way
// to read it.
func checkMemory(t *testing.T, img dump.Image, mem dumpwriter.PageMap, pageSize int) {
	t.Helper()
	buf := make([]byte, pageSize)
	want := make([]byte, pageSize)
	for pfn := range mem.Pages() + 10 {
		addr := pfn * uint64(pageSize)
		n, err := img.ReadPhys(buf, addr)
		state := dumpwriter.Hole
		if pfn < mem.Pages() {
			state = mem.State(pfn)
		}
		switch state {
		case dumpwriter.Hole:
			if !errors.Is(err, dump.ErrMissing) || n != 0 {
				t.Fatalf("page %d is a hole: read %d, %v", pfn, n, err)
			}
		case dumpwriter.Excluded:
			if !errors.Is(err, dump.ErrExcluded) || n != 0 {
				t.Fatalf("page %d is excluded: read %d, %v", pfn, n, err)
			}
		default:
			if err != nil {
				t.Fatalf("page %d: %v", pfn, err)
			}
			if err := mem.Read(pfn, want); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(buf, want) {
				t.Fatalf("page %d differs", pfn)
			}
			view, err := img.ViewPhys(addr+16, 100)
			if err != nil || !bytes.Equal(view, want[16:116]) {
				t.Fatalf("view of page %d: %v", pfn, err)
			}
		}
	}
	checkSweep(t, img, mem, pageSize)
	checkRanges(t, img, mem, pageSize)
}

func checkSweep(t *testing.T, img dump.Image, mem dumpwriter.PageMap, pageSize int) {
	t.Helper()
	for workers := 1; workers <= 3; workers++ {
		got := make([]map[uint64][]byte, workers)
		last := make([]uint64, workers)
		for i := range got {
			got[i] = map[uint64][]byte{}
		}
		err := img.Sweep(t.Context(), workers, func(w int, p dump.Page) error {
			if p.Err != nil {
				return p.Err
			}
			if p.Addr < last[w] {
				return fmt.Errorf("worker %d: %#x after %#x", w, p.Addr, last[w])
			}
			last[w] = p.Addr
			got[w][p.Addr/uint64(pageSize)] = bytes.Clone(p.Data)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, pages := range got {
			total += len(pages)
			for pfn, data := range pages {
				if !bytes.Equal(data, mem[pfn]) {
					t.Fatalf("sweep: page %d differs", pfn)
				}
			}
		}
		want := 0
		for pfn := range mem.Pages() {
			if mem.State(pfn) == dumpwriter.Present {
				want++
			}
		}
		if total != want {
			t.Fatalf("sweep with %d workers: %d pages, want %d", workers, total, want)
		}
	}
}

func checkRanges(t *testing.T, img dump.Image, mem dumpwriter.PageMap, pageSize int) {
	t.Helper()
	pfn, end := uint64(0), uint64(0)
	for r := range img.Ranges() {
		if r.Start <= end && end > 0 || r.Size() == 0 {
			t.Fatalf("range %#x-%#x after one that ends at %#x", r.Start, r.End, end)
		}
		end = r.End
		for ; pfn < r.Start/uint64(pageSize); pfn++ {
			if mem.State(pfn) == dumpwriter.Present {
				t.Fatalf("page %d is in no range", pfn)
			}
		}
		for ; pfn < r.End/uint64(pageSize); pfn++ {
			if mem.State(pfn) != dumpwriter.Present {
				t.Fatalf("page %d is in a range", pfn)
			}
		}
	}
	for ; pfn < mem.Pages(); pfn++ {
		if mem.State(pfn) == dumpwriter.Present {
			t.Fatalf("page %d is in no range", pfn)
		}
	}
}
