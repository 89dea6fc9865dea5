package dump_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// hugePages is a machine of 100 GiB, of which one page in 64 is in the dump.
type hugePages struct{}

const hugeSize = 100 << 30

func (hugePages) Pages() uint64 { return hugeSize / 4096 }

func (hugePages) State(pfn uint64) dumpwriter.State {
	if pfn%64 == 5 {
		return dumpwriter.Present
	}
	return dumpwriter.Excluded
}

func (hugePages) Read(pfn uint64, page []byte) error {
	clear(page)
	page[0] = byte(pfn >> 6)
	return nil
}

// writeHugeKdump writes the dump of hugePages.
func writeHugeKdump(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vmcore.kdump")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(4096)
	cfg.Codec = dumpwriter.All(dumpwriter.Snappy)
	if err := dumpwriter.Kdump(f, hugePages{}, cfg); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeHugeELF writes an ELF dump of 100 GiB, all of it a hole in the file but
// for its headers and one page.
func writeHugeELF(t testing.TB) string {
	t.Helper()
	path, _ := hugeELF(t, testConfig(4096))
	return path
}

// hugeELF also returns the offset in the file of the memory, which begins at address 0.
func hugeELF(t testing.TB, cfg dumpwriter.Config) (path string, memory int64) {
	t.Helper()
	data := build(t, dumpwriter.ELF, dumpwriter.PageMap{0: []byte("first page")}, cfg)
	load := 64
	if binary.LittleEndian.Uint32(data[load:]) != uint32(elf.PT_LOAD) {
		load += 56
	}
	binary.LittleEndian.PutUint64(data[load+32:], hugeSize)
	binary.LittleEndian.PutUint64(data[load+40:], hugeSize)
	path = file(t, data)
	if err := os.Truncate(path, hugeSize+int64(len(data))); err != nil {
		t.Skip("the file system keeps no sparse file of 100 GiB: ", err)
	}
	return path, int64(binary.LittleEndian.Uint64(data[load+8:]))
}

// TestScanHuge: where the headers have no VMCOREINFO it is looked for in the memory that
// was written, and not in the hundred gigabytes of holes around it.
func TestScanHuge(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux is asked where holes are")
	}
	const text, uts = 70<<30 + 0x1000, 3<<20 + 0x40
	for name, opts := range map[string][]dump.Option{"mapped": nil, "read": {dump.WithoutMapping()}} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(4096)
			cfg.VMCoreInfo = ""
			path, at := hugeELF(t, cfg)
			m := make(memory, 4096)
			m.putUts(uts%4096, "6.1.0-own", "x86_64")
			writeAt(t, path, m, at+uts&^4095)
			writeAt(t, path, []byte(infoText("6.1.0-own", uts)), at+text)
			start := time.Now()
			img := mustOpen(t, []string{path}, opts...)
			// Going through all of it takes minutes.
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("opened in %v", took)
			}
			if got, _ := img.Facts().VMCoreInfo.Get("OSRELEASE"); got != "6.1.0-own" || img.Facts().MaxPhys < hugeSize {
				t.Errorf("found %q, memory up to %#x", got, img.Facts().MaxPhys)
			}
		})
	}
}

func writeAt(t testing.TB, path string, data []byte, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(data, off); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// openCost is the time and memory that opening a dump takes, the best of some
// tries.
func openCost(t testing.TB, path string) (time.Duration, uint64) {
	t.Helper()
	best, memory := time.Duration(1<<62), uint64(1<<62)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		img, err := dump.Open([]string{path})
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		img.Close()
		best = min(best, took)
		memory = min(memory, after.TotalAlloc-before.TotalAlloc)
	}
	return best, memory
}

// TestOpenHuge: opening reads headers, bitmaps and notes, not the memory.
func TestOpenHuge(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("short run: files of gigabytes are written")
	}
	kdump := writeHugeKdump(t)
	cfg := testConfig(4096)
	cfg.VMCoreInfo = ""
	without, _ := hugeELF(t, cfg)
	for name, path := range map[string]string{"elf": writeHugeELF(t), "elf without VMCOREINFO": without, "kdump": kdump} {
		took, memory := openCost(t, path)
		t.Logf("%s: %v, %d KiB", name, took, memory>>10)
		if took > 50*time.Millisecond || memory > 100<<20 {
			t.Errorf("%s: opened in %v with %d MiB", name, took, memory>>20)
		}
	}

	img := mustOpen(t, []string{kdump})
	var buf [1]byte
	for pfn := uint64(5); pfn < hugeSize/4096; pfn += 64 * 1009 {
		if _, err := img.ReadPhys(buf[:], pfn*4096); err != nil || buf[0] != byte(pfn>>6) {
			t.Fatalf("page %#x: %#x, %v", pfn, buf[0], err)
		}
	}
	st, err := dump.Stat(t.Context(), img)
	if err != nil || st.Present != hugeSize/4096/64 || st.Excluded != hugeSize/4096/64*63 {
		t.Errorf("%+v, %v", st, err)
	}
}

// manySegments is a core file of n one-page segments, more than e_phnum can
// say, at every second page. All show the same bytes of the file.
func manySegments(n int) []byte {
	const phoff, phsize = 64, 56
	data := make([]byte, phoff+phsize*n+64+4096)
	shoff := phoff + phsize*n
	page := shoff + 64
	copy(data, elf.ELFMAG+"\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(data[16:], uint16(elf.ET_CORE))
	le.PutUint16(data[18:], uint16(elf.EM_X86_64))
	le.PutUint64(data[32:], phoff)
	le.PutUint64(data[40:], uint64(shoff))
	le.PutUint16(data[54:], phsize)
	le.PutUint16(data[56:], 0xffff)
	le.PutUint32(data[shoff+44:], uint32(n))
	for i := range n {
		ph := data[phoff+phsize*i:]
		le.PutUint32(ph, uint32(elf.PT_LOAD))
		le.PutUint64(ph[8:], uint64(page))
		le.PutUint64(ph[24:], uint64(n-1-i)*8192) // not in order
		le.PutUint64(ph[32:], 4096)
		le.PutUint64(ph[40:], 4096)
	}
	copy(data[page:], "the page")
	return data
}

func TestManySegments(t *testing.T) {
	const n = 70_000
	img := mustOpen(t, []string{file(t, manySegments(n))})
	ranges := 0
	for range img.Ranges() {
		ranges++
	}
	if ranges != n {
		t.Errorf("%d ranges of %d", ranges, n)
	}
	for i := uint64(0); i < n; i += 997 {
		view, err := img.ViewPhys(i*8192, 8)
		if err != nil || !bytes.Equal(view, []byte("the page")) {
			t.Fatalf("segment %d: %q, %v", i, view, err)
		}
		if _, err := img.ViewPhys(i*8192+4096, 8); err == nil {
			t.Fatalf("read the gap behind segment %d", i)
		}
	}
}

// BenchmarkOpenHuge opens dumps of a machine of 100 GiB.
func BenchmarkOpenHuge(b *testing.B) {
	for name, write := range map[string]func(testing.TB) string{"elf": writeHugeELF, "kdump": writeHugeKdump} {
		b.Run(name, func(b *testing.B) {
			path := write(b)
			b.ReportAllocs()
			for b.Loop() {
				img, err := dump.Open([]string{path})
				if err != nil {
					b.Fatal(err)
				}
				img.Close()
			}
		})
	}
}
