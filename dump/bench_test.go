package dump

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kmortem/mortem/dump/dumpwriter"
)

// benchPages is the size of the machine that the benchmarks dump.
const benchPages = 16384

// benchMemory is memory as kernels have it: a tenth zeros, a tenth that does
// not shrink, the rest slab-like objects of pointers, small numbers and names.
type benchMemory struct{}

func (benchMemory) Pages() uint64                 { return benchPages }
func (benchMemory) State(uint64) dumpwriter.State { return dumpwriter.Present }

func (benchMemory) Read(pfn uint64, page []byte) error {
	rng := rand.New(rand.NewSource(int64(pfn)))
	switch rng.Intn(10) {
	case 0:
		clear(page)
		return nil
	case 1:
		rng.Read(page)
		return nil
	}
	clear(page)
	for i := 0; i+192 <= len(page); i += 192 {
		obj := page[i : i+192]
		for _, at := range []int{0, 16, 24, 48, 88, 96, 104, 128, 144, 176} {
			binary.LittleEndian.PutUint64(obj[at:], 0xffff888000000000|uint64(rng.Int63n(1<<30))&^7)
		}
		binary.LittleEndian.PutUint32(obj[8:], uint32(rng.Intn(1000)))
		binary.LittleEndian.PutUint32(obj[32:], rng.Uint32())
		copy(obj[56:], fmt.Sprintf(".%06d_dOeSnotExist_.db", rng.Intn(1e6)))
	}
	return nil
}

var benchCodecs = []dumpwriter.Codec{dumpwriter.Zlib, dumpwriter.LZO, dumpwriter.Snappy, dumpwriter.Zstd}

// benchKdump writes and opens a dump of benchMemory.
func benchKdump(b *testing.B, codec dumpwriter.Codec) *kdumpImage {
	b.Helper()
	return benchOpen(b, dumpwriter.Config{Codec: dumpwriter.All(codec)}, func(f *os.File, cfg dumpwriter.Config) error {
		return dumpwriter.Kdump(f, benchMemory{}, cfg)
	}).(*kdumpImage)
}

func benchOpen(b *testing.B, cfg dumpwriter.Config, write func(*os.File, dumpwriter.Config) error) Image {
	b.Helper()
	path := filepath.Join(b.TempDir(), "vmcore")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if err := write(f, cfg); err != nil {
		b.Fatal(err)
	}
	f.Close()
	img, err := Open([]string{path})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { img.Close() })
	return img
}

// bareDecoder decompresses pages with nothing around the decoder. Benchmarks
// run it in turn with what they measure, so that both see the same noise.
type bareDecoder struct {
	codecs []Codec
	packed [][]byte
	dst    []byte
	dec    decoder
}

func newBare(b *testing.B, img *kdumpImage, pfns []uint64) *bareDecoder {
	b.Helper()
	bare := &bareDecoder{dst: make([]byte, img.pageSize)}
	for _, pfn := range pfns {
		p, d, err := img.locate(pfn)
		if err != nil {
			b.Fatal(err)
		}
		data, err := p.packed(d, img.pageSize, nil)
		if err != nil {
			b.Fatal(err)
		}
		bare.codecs = append(bare.codecs, d.codec())
		bare.packed = append(bare.packed, data)
	}
	return bare
}

// run decompresses the pages from one index to another, and returns the time on the
// clock.
func (d *bareDecoder) run(b *testing.B, from, to int) time.Duration {
	start := time.Now()
	for i := from; i < to; i++ {
		if err := d.dec.decode(d.codecs[i], d.dst, d.packed[i]); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

// packedPages are the pages that are packed and not the shared page of zeros,
// in random order.
func packedPages(b *testing.B, img *kdumpImage) []uint64 {
	b.Helper()
	var pfns []uint64
	var last pageDesc
	for pfn := range uint64(benchPages) {
		_, d, err := img.locate(pfn)
		if err != nil {
			b.Fatal(err)
		}
		if d.codec() != CodecRaw && d != last {
			pfns = append(pfns, pfn)
		}
		if d.size < 64 {
			last = d
		}
	}
	rand.New(rand.NewSource(1)).Shuffle(len(pfns), func(i, j int) { pfns[i], pfns[j] = pfns[j], pfns[i] })
	return pfns
}

// BenchmarkReadMiss reads eight bytes of random pages that are not in the cache:
// while it fills up, and once it is full, when each page takes the place of another.
// The ratio is to bare decompression of the same pages in the same order, in
// processor time where that can be had.
func BenchmarkReadMiss(b *testing.B) {
	for _, codec := range benchCodecs {
		img := benchKdump(b, codec)
		pfns := packedPages(b, img)
		bare := newBare(b, img, pfns)
		var buf [8]byte
		read := func(addr uint64) error {
			_, err := img.ReadPhys(buf[:], addr)
			return err
		}
		view := func(addr uint64) error {
			_, err := img.ViewPhys(addr, len(buf))
			return err
		}
		b.Run(string(codec)+"/filling", func(b *testing.B) { benchMisses(b, img, fixed(256<<20), pfns, bare, read) })
		b.Run(string(codec)+"/full", func(b *testing.B) { benchMisses(b, img, fixed(8<<20), pfns, bare, read) })
		b.Run(string(codec)+"/fullViews", func(b *testing.B) { benchMisses(b, img, fixed(8<<20), pfns, bare, view) })
	}
}

// benchMisses has blocks of the pages read and unpacked bare in turn. A cache that
// has room for all pages is emptied before they come again; any other has long lost
// a page by then.
func benchMisses(b *testing.B, img *kdumpImage, size budget, pfns []uint64, bare *bareDecoder, read func(addr uint64) error) {
	const block = 1024
	at, n := len(pfns), 0
	var missTime time.Duration
	var ratios []float64
	timed := func(work func()) time.Duration {
		start := processorTime()
		work()
		return processorTime() - start
	}
	unpack := func() { bare.run(b, at, at+block) }
	miss := func() {
		for _, pfn := range pfns[at : at+block] {
			if err := read(pfn<<12 + 128); err != nil {
				b.Fatal(err)
			}
		}
	}
	img.cache = newPageCache(4096, size, benchPages)
	loads := img.cache.loads
	for b.Loop() {
		if at+block > len(pfns) {
			if at = 0; size.first>>12 >= benchPages {
				img.cache = newPageCache(4096, size, benchPages)
				loads = img.cache.loads
				runtime.GC()
			}
		}
		// Whoever comes second finds the packed pages in the processor's cache:
		// they take turns.
		var bareNow time.Duration
		if n%2 == 0 {
			bareNow = timed(unpack)
		}
		before := loads()
		missNow := timed(miss)
		if loads()-before < block*98/100 {
			b.Fatalf("%d of %d pages were missed", loads()-before, block)
		}
		if n%2 == 1 {
			bareNow = timed(unpack)
		}
		missTime += missNow
		ratios = append(ratios, float64(missNow)/float64(bareNow))
		at, n = at+block, n+1
	}
	pages := float64(n * block)
	b.ReportMetric(missTime.Seconds()*1e9/pages, "ns/page")
	b.ReportMetric(pages/missTime.Seconds(), "pages/s")
	// The median, for a busy machine interrupts one or the other.
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "x-bare")
}

// BenchmarkReadSequential reads all pages in order through the cache; the ratio
// is to bare decompression on one goroutine.
func BenchmarkReadSequential(b *testing.B) {
	for _, codec := range benchCodecs {
		b.Run(string(codec), func(b *testing.B) {
			img := benchKdump(b, codec)
			all := make([]uint64, benchPages)
			for i := range all {
				all[i] = uint64(i)
			}
			bare := newBare(b, img, all)
			buf := make([]byte, 4096)
			var bareTime, readTime time.Duration
			for b.Loop() {
				img.cache = newPageCache(4096, defaultCache(), benchPages)
				bareTime += bare.run(b, 0, benchPages)
				start := time.Now()
				for pfn := range uint64(benchPages) {
					if _, err := img.ReadPhys(buf, pfn<<12); err != nil {
						b.Fatal(err)
					}
				}
				readTime += time.Since(start)
				img.ahead.running.Wait()
			}
			b.ReportMetric(float64(b.N)*benchPages/readTime.Seconds(), "pages/s")
			b.ReportMetric(float64(readTime)/float64(bareTime), "x-bare")
		})
	}
}

// BenchmarkReadHit reads eight bytes of random pages that are in the cache: of
// 1,000 pages, and of so many that each read also waits for memory.
func BenchmarkReadHit(b *testing.B) {
	img := benchKdump(b, dumpwriter.LZO)
	img.cache = newPageCache(4096, fixed(256<<20), benchPages)
	all := packedPages(b, img)
	for _, pfns := range [][]uint64{all[:1000], all} {
		b.Run(fmt.Sprintf("%dpages", len(pfns)), func(b *testing.B) { benchHits(b, img, pfns) })
	}
}

// BenchmarkReadELF does the same with a mapped ELF dump.
func BenchmarkReadELF(b *testing.B) {
	img := benchOpen(b, dumpwriter.Config{}, func(f *os.File, cfg dumpwriter.Config) error {
		return dumpwriter.ELF(f, benchMemory{}, cfg)
	})
	pfns := make([]uint64, 1000)
	for i := range pfns {
		pfns[i] = uint64(rand.Intn(benchPages))
	}
	benchHits(b, img, pfns)
}

func benchHits(b *testing.B, img Image, pfns []uint64) {
	var buf [8]byte
	for _, pfn := range pfns {
		if _, err := img.ReadPhys(buf[:], pfn<<12); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("ReadPhys", func(b *testing.B) {
		i := 0
		for b.Loop() {
			if _, err := img.ReadPhys(buf[:], pfns[i%len(pfns)]<<12+256); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("ViewPhys", func(b *testing.B) {
		i := 0
		for b.Loop() {
			if _, err := img.ViewPhys(pfns[i%len(pfns)]<<12+256, 192); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("ViewPhysParallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			i := rand.Int()
			for pb.Next() {
				if _, err := img.ViewPhys(pfns[i%len(pfns)]<<12+256, 192); err != nil {
					b.Error(err)
					return
				}
				i++
			}
		})
	})
}

// BenchmarkSweep decompresses all pages of a dump; of-bare is the rate of each
// worker over that of bare decompression on as many goroutines at once.
func BenchmarkSweep(b *testing.B) {
	for _, codec := range benchCodecs {
		img := benchKdump(b, codec)
		all := make([]uint64, benchPages)
		for i := range all {
			all[i] = uint64(i)
		}
		for _, workers := range []int{1, 2} {
			bares := make([]*bareDecoder, workers)
			for i := range bares {
				bares[i] = newBare(b, img, all)
			}
			b.Run(fmt.Sprintf("%s/%dworkers", codec, workers), func(b *testing.B) {
				var bareTime, sweepTime time.Duration
				for b.Loop() {
					bareTime += runBares(b, bares)
					sweepTime += sweepOnce(b, img, workers)
				}
				b.ReportMetric(float64(b.N)*benchPages/sweepTime.Seconds(), "pages/s")
				b.ReportMetric(float64(bareTime)/float64(sweepTime), "of-bare")
			})
		}
	}
	img := benchOpen(b, dumpwriter.Config{}, func(f *os.File, cfg dumpwriter.Config) error {
		return dumpwriter.ELF(f, benchMemory{}, cfg)
	})
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("elf/%dworkers", workers), func(b *testing.B) {
			b.SetBytes(benchPages * 4096)
			for b.Loop() {
				sweepOnce(b, img, workers)
			}
		})
	}
}

// runBares decompresses an equal share of all pages on each goroutine.
func runBares(b *testing.B, bares []*bareDecoder) time.Duration {
	start := time.Now()
	var wg sync.WaitGroup
	share := benchPages / len(bares)
	for i, bare := range bares {
		wg.Go(func() { bare.run(b, i*share, (i+1)*share) })
	}
	wg.Wait()
	return time.Since(start)
}

func sweepOnce(b *testing.B, img Image, workers int) time.Duration {
	start := time.Now()
	if err := img.Sweep(b.Context(), workers, func(_ int, p Page) error { return p.Err }); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}
