//go:build unix

package census_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/census"
	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// BenchmarkCensus compares on each codec the census by sweep with the same census by
// the hash chains, of a million dentries that one directory's missing files left: each
// on one processor, whose time counts and not that of the clock. ratio is how many times
// as fast the sweep is.
func BenchmarkCensus(b *testing.B) {
	const n = 1_000_000
	for _, codec := range []dumpwriter.Codec{"", dumpwriter.Raw, dumpwriter.Zlib, dumpwriter.LZO, dumpwriter.Snappy, dumpwriter.Zstd} {
		name := string(codec)
		if name == "" {
			name = "elf"
		}
		b.Run(name, func(b *testing.B) {
			c := synthetic.NewMemCase2(synthetic.EL7(), synthetic.Machine{RAM: 320 << 20, HashBits: 16}, n)
			path := writeDump(b, c.Kernel, codec)
			image, err := dump.Open([]string{path}, dump.WithCache(32<<20))
			if err != nil {
				b.Fatal(err)
			}
			fs := kerneltest.SyntheticFSIn(b, c.Kernel, image, err)
			var swept, walked time.Duration
			for b.Loop() {
				for chains, took := range map[bool]*time.Duration{false: &swept, true: &walked} {
					start := processorTime(b)
					r := dentries(b, fs, census.Options{Workers: 1, Chains: chains, Walk: -1})
					*took += processorTime(b) - start
					if r.Dentries.Hashed != uint64(n+c.InUse-1) {
						b.Fatalf("%+v", r.Dentries)
					}
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/swept.Seconds()/1e6, "swept-million/s")
			b.ReportMetric(float64(n)*float64(b.N)/walked.Seconds()/1e6, "walked-million/s")
			b.ReportMetric(walked.Seconds()/swept.Seconds(), "ratio")
		})
	}
}

func writeDump(t testing.TB, k *synthetic.Kernel, codec dumpwriter.Codec) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vmcore")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if codec == "" {
		err = k.Dump().WriteELF(f)
	} else {
		err = k.Dump().WriteKdump(f, codec)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// processorTime is what the process has used so far.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
