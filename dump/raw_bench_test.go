package dump_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"testing"

	"github.com/klauspost/compress/snappy"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// benchPages are pages that shrink about as much as kernel memory does.
func benchPages(n uint64) dumpwriter.PageMap {
	rng := rand.New(rand.NewSource(5))
	m := dumpwriter.PageMap{}
	for pfn := range n {
		page := make([]byte, 4096)
		for at := 0; at < 4096; at += 64 {
			binary.LittleEndian.PutUint64(page[at:], 0xffff888000000000|uint64(rng.Int63n(1<<30))&^7)
			binary.LittleEndian.PutUint32(page[at+8:], rng.Uint32())
			copy(page[at+16:], "struct dentry")
		}
		m[pfn] = page
	}
	return m
}

// BenchmarkAVML reads an AVML image in all ways beside the bare decompressor on
// the same chunks.
func BenchmarkAVML(b *testing.B) {
	const pages = 32 << 20 / 4096
	mem := benchPages(pages)
	path := file(b, build(b, dumpwriter.AVML, mem, dumpwriter.Config{}))
	b.Run("bare snappy of the chunks", func(b *testing.B) {
		var chunks [][]byte
		var plain []byte
		for pfn := range uint64(pages) {
			plain = append(plain, mem[pfn]...)
			if len(plain) == 65536 {
				chunks = append(chunks, snappy.Encode(nil, plain))
				plain = plain[:0]
			}
		}
		dst := make([]byte, 65536)
		b.SetBytes(pages * 4096)
		for b.Loop() {
			for _, c := range chunks {
				if _, err := snappy.Decode(dst, c); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("sweep with %d workers", workers), func(b *testing.B) {
			img := mustOpen(b, []string{path}, dump.WithoutScan())
			b.SetBytes(pages * 4096)
			for b.Loop() {
				if err := img.Sweep(b.Context(), workers, func(_ int, p dump.Page) error { return p.Err }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("hit", func(b *testing.B) {
		img := mustOpen(b, []string{path}, dump.WithoutScan())
		buf := make([]byte, 64)
		for i := 0; b.Loop(); i++ {
			if _, err := img.ReadPhys(buf, uint64(i%100)*4096); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("miss", func(b *testing.B) {
		img := mustOpen(b, []string{path}, dump.WithoutScan(), dump.WithCache(1))
		buf := make([]byte, 64)
		for i := 0; b.Loop(); i++ {
			if _, err := img.ReadPhys(buf, uint64(i*997%pages)*4096); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkLiMESweep sweeps a mapped LiME image.
func BenchmarkLiMESweep(b *testing.B) {
	mem := benchPages(32 << 20 / 4096)
	img := mustOpen(b, []string{file(b, build(b, dumpwriter.LiME, mem, dumpwriter.Config{}))}, dump.WithoutScan())
	b.SetBytes(32 << 20)
	sum := 0
	for b.Loop() {
		err := img.Sweep(b.Context(), 1, func(_ int, p dump.Page) error {
			sum += bytes.Count(p.Data, []byte{0x7f})
			return p.Err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
