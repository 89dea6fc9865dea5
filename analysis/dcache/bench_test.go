package dcache_test

import (
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

// BenchmarkHashWalk walks every chain of dentry_hashtable on one goroutine, on
// the main dump in an uncompressed form and in each codec, with an empty page
// cache each time. Beside it, under pages/…, the bare reading of the pages that
// the walk touches: it cannot be faster than that.
func BenchmarkHashWalk(b *testing.B) {
	original := kerneltest.MainFS(b).Kernel().Image()
	for _, form := range []string{"elf", "zlib", "lzo", "snappy", "zstd"} {
		files := kerneltest.Rewrite(b, original, form)
		b.Run("walk/"+form, func(b *testing.B) { benchmarkWalk(b, files) })
		b.Run("pages/"+form, func(b *testing.B) { benchmarkPages(b, files) })
	}
}

func openFresh(b *testing.B, files []string) *vfs.FS {
	k := kerneltest.Kernel(b, files...)
	fs, err := vfs.Open(k)
	if err != nil {
		b.Fatal(err)
	}
	return fs
}

// fresh reopens the dump outside of the measured time.
func fresh(b *testing.B, fs *vfs.FS, files []string) *vfs.FS {
	b.StopTimer()
	defer b.StartTimer()
	if fs != nil {
		if err := fs.Kernel().Image().Close(); err != nil {
			b.Fatal(err)
		}
	}
	return openFresh(b, files)
}

func benchmarkWalk(b *testing.B, files []string) {
	var fs *vfs.FS
	var n uint64
	b.ReportAllocs()
	for b.Loop() {
		fs = fresh(b, fs, files)
		n += walkAll(b, fs, func(*vfs.Entry) {})
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "dentries/s")
}

func walkAll(b *testing.B, fs *vfs.FS, visit func(*vfs.Entry)) (n uint64) {
	table, err := fs.HashTable()
	if err != nil {
		b.Fatal(err)
	}
	for e, err := range table.Entries(0, table.Buckets) {
		if err != nil {
			b.Fatal(err)
		}
		visit(e)
		n++
	}
	return n
}

func benchmarkPages(b *testing.B, files []string) {
	fs := openFresh(b, files)
	pages := touched(b, fs)
	buf := make([]byte, fs.Kernel().PageSize())
	var n int
	for b.Loop() {
		fs = fresh(b, fs, files)
		n += readPages(b, fs.Kernel().Image(), pages, buf)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "pages/s")
}

// touched are the physical addresses of the pages that hold the dentries, in
// the order in which the walk meets them.
func touched(b *testing.B, fs *vfs.FS) []uint64 {
	k := fs.Kernel()
	seen := map[uint64]bool{}
	var pages []uint64
	walkAll(b, fs, func(e *vfs.Entry) {
		phys, _, err := k.Translate(e.Dentry.Addr)
		if err != nil {
			b.Fatal(err)
		}
		if page := phys &^ (k.PageSize() - 1); !seen[page] {
			seen[page] = true
			pages = append(pages, page)
		}
	})
	return pages
}

func readPages(b *testing.B, image dump.Image, pages []uint64, buf []byte) int {
	for _, page := range pages {
		if _, err := image.ReadPhys(buf, page); err != nil {
			b.Fatal(err)
		}
	}
	return len(pages)
}
