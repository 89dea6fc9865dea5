package sweep_test

import (
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/sweep"
)

// BenchmarkSweep compares, on each codec, the sweep over the slabs of all caches, with
// all their live objects looked at, with nothing but unpacking the pages that it
// touches: the dump is written again without the others. ratio is the time of the
// one by that of the other.
func BenchmarkSweep(b *testing.B) {
	touched := touchedPages(b)
	for _, form := range []string{"elf", "raw", "zlib", "lzo", "snappy", "zstd"} {
		b.Run(form, func(b *testing.B) {
			files := kerneltest.Rewrite(b, touched, form)
			var swept, unpacked time.Duration
			live, pages := uint64(0), 0
			for b.Loop() {
				n, took := sweepAll(b, files)
				live, swept = live+n, swept+took
				pages, took = unpackAll(b, files)
				unpacked += took
			}
			b.SetBytes(int64(pages) * 4096)
			b.ReportMetric(float64(live)/swept.Seconds(), "objects/s")
			b.ReportMetric(swept.Seconds()/unpacked.Seconds(), "ratio")
			b.ReportMetric(float64(pages*b.N)/unpacked.Seconds(), "unpacked-pages/s")
		})
	}
}

// sweepAll opens the dump and sweeps; the time is that of the sweep alone.
func sweepAll(b *testing.B, files []string) (live uint64, took time.Duration) {
	k := kerneltest.Kernel(b, files...)
	defer func() { _ = k.Image().Close() }() // opened for reading only
	s := open(b, k)
	start := time.Now()
	r, err := sweep.Run(b.Context(), s, []sweep.Consumer{{Caches: s.Caches(), Visit: touch}}, sweep.Options{Workers: 1})
	took = time.Since(start)
	if err != nil || !r.Coverage.Complete() {
		b.Fatal(err, r.Coverage)
	}
	for _, c := range r.Caches {
		live += c.Live
	}
	return live, took
}

func unpackAll(b *testing.B, files []string) (pages int, took time.Duration) {
	image, err := dump.Open(files)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = image.Close() }() // opened for reading only
	start := time.Now()
	if err := image.Sweep(b.Context(), 1, func(_ int, p dump.Page) error {
		pages++
		for i := 0; i < len(p.Data); i += 64 {
			sink += uint64(p.Data[i])
		}
		return p.Err
	}); err != nil {
		b.Fatal(err)
	}
	return pages, time.Since(start)
}

var sink uint64

func touch(_ int, s *sweep.Slab) error {
	for i := range s.Objects {
		if s.Live(i) {
			sink += uint64(s.Bytes(i)[0])
		}
	}
	return nil
}

// touchedPages is the main boot's dump of uncompressed pages, less those that
// neither opening the kernel nor a sweep touches.
func touchedPages(b *testing.B) dump.Image {
	image, err := dump.Open([]string{fixtures.OnDemand(b, "main/makedumpfile.raw")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = image.Close() }) // opened for reading only
	t := &touching{Image: image, pages: map[uint64]bool{}}
	k, err := kernel.Open(t, kerneltest.Info(b), kernel.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s := open(b, k)
	if _, err := sweep.Run(b.Context(), s, []sweep.Consumer{{Caches: s.Caches(), Visit: touch}}, sweep.Options{}); err != nil {
		b.Fatal(err)
	}
	return t
}

// touching is a dump that takes note of the pages that are read, and then has those
// only.
type touching struct {
	dump.Image
	mu    sync.Mutex
	pages map[uint64]bool
}

func (t *touching) note(addr uint64, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for page := addr &^ 4095; page < addr+uint64(n); page += 4096 {
		t.pages[page] = true
	}
}

func (t *touching) ReadPhys(buf []byte, addr uint64) (int, error) {
	t.note(addr, len(buf))
	return t.Image.ReadPhys(buf, addr)
}

func (t *touching) ViewPhys(addr uint64, n int) ([]byte, error) {
	t.note(addr, n)
	return t.Image.ViewPhys(addr, n)
}

func (t *touching) Ranges() iter.Seq[dump.Range] {
	return func(yield func(dump.Range) bool) {
		for r := range t.Image.Ranges() {
			for at := r.Start; at < r.End; at += 4096 {
				if t.pages[at] && !yield(dump.Range{Start: at, End: at + 4096}) {
					return
				}
			}
		}
	}
}
