package slab_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
)

// Slabs of 21 objects, all in use, on a hardened kernel: what decoding
// costs beside going through the same memory once.
func BenchmarkDecode(b *testing.B) {
	plan := synthetic.New(synthetic.Load("6.1"), synthetic.Machine{MemMap: true, RAM: 128 << 20})
	var objects []uint64
	for range 100000 {
		objects = append(objects, plan.Kmalloc(192))
	}
	s := open(b, openDump(b, plan.Dump(), info(b, plan)))
	b.Run("slabs", func(b *testing.B) {
		d := s.NewDecoder()
		mem := make([]byte, 4096)
		n := 0
		b.ReportAllocs()
		for b.Loop() {
			for sl, err := range s.Walk(0, s.Pages().Spans()[0].End) {
				if err != nil {
					b.Fatal(err)
				}
				if sl.Order > 0 {
					continue
				}
				mem, err := s.Kernel().Peek(sl.Start, mem)
				if err == nil {
					err = d.Load(&sl, mem)
				}
				if err != nil {
					b.Fatal(err)
				}
				for i := range sl.Objects {
					if !d.IsFree(i) {
						n++
					}
				}
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "objects/s")
	})
	b.Run("memory", func(b *testing.B) {
		n, sum := 0, byte(0)
		mem := make([]byte, 4096)
		for b.Loop() {
			for i := 0; i < len(objects); i += 21 {
				mem, err := s.Kernel().Peek(objects[i]&^4095, mem)
				if err != nil {
					b.Fatal(err)
				}
				for at := 0; at < 4096; at += 64 {
					sum += mem[at]
				}
				n += 21
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "objects/s")
		_ = sum
	})
}
