package dump_test

import (
	"bytes"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// lateZeros has three pages of zeros, next to each other behind many others.
func lateZeros() dumpwriter.PageMap {
	m := dumpwriter.PageMap{}
	for pfn := range uint64(9000) {
		m[pfn] = []byte{byte(pfn), byte(pfn >> 8), 1}
	}
	for pfn := range uint64(3) {
		m[8000+pfn] = make([]byte, 4096)
	}
	return m
}

// TestStat compares the counts of Stat and Verify with what was written.
func TestStat(t *testing.T) {
	for name, mem := range map[string]dumpwriter.PageMap{"spread zeros": testMachine(4096), "late zeros": lateZeros()} {
		want := dump.Stats{}
		for pfn := range mem.Pages() {
			switch mem.State(pfn) {
			case dumpwriter.Present:
				want.Present++
				if len(bytes.TrimLeft(mem[pfn], "\x00")) == 0 {
					want.Zero++
				}
			case dumpwriter.Excluded:
				want.Excluded++
			}
		}
		cfg := testConfig(4096)
		for _, opts := range [][]dump.Option{nil, {dump.WithoutMapping()}} {
			whole := mustOpen(t, []string{file(t, build(t, dumpwriter.Kdump, mem, cfg))}, opts...)
			split := mustOpen(t, writeAll(t, "part%d", splitFiles(t, mem, cfg, 3, false)), opts...)
			for i, img := range []dump.Image{whole, split} {
				stat, err := dump.Stat(t.Context(), img)
				if err != nil {
					t.Fatal(err)
				}
				read, err := dump.Verify(t.Context(), img, dump.VerifyOptions{Workers: 2})
				if err != nil {
					t.Fatal(err)
				}
				for _, st := range []*dump.Stats{stat, read} {
					if st.Present != want.Present || st.Excluded != want.Excluded || st.Zero != want.Zero || st.Missing+st.Damaged > 0 {
						t.Errorf("%s: %+v, want %+v", name, st, want)
					}
					// Pages are not packed; each file with pages of zeros has one of them.
					pages := st.Packed / 4096
					if one := want.Present - want.Zero + 1; pages < one || pages > one+2*uint64(i) || st.Packed%4096 != 0 {
						t.Errorf("%s: %d bytes of %d pages", name, st.Packed, one)
					}
				}
			}
		}
	}
}
