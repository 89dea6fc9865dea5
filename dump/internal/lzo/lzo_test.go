package lzo

import (
	"bytes"
	"math/rand"
	"testing"
)

// samples are pages of several kinds.
func samples() map[string][]byte {
	rng := rand.New(rand.NewSource(1))
	page := func(fill func(i int) byte) []byte {
		b := make([]byte, 4096)
		for i := range b {
			b[i] = fill(i)
		}
		return b
	}
	s := map[string][]byte{
		"zero":    make([]byte, 4096),
		"random":  page(func(int) byte { return byte(rng.Int()) }),
		"text":    bytes.Repeat([]byte("struct dentry *d_parent; "), 170),
		"period3": page(func(i int) byte { return byte(i % 3) }),
		"period9": page(func(i int) byte { return byte(i % 9 * 31) }),
		"sparse":  page(func(i int) byte { return byte(i / 512 * (i % 64 / 60)) }),
		"short":   {1, 2, 3},
		"one":     {7},
		"empty":   {},
	}
	big := make([]byte, 65536)
	copy(big, s["random"])
	copy(big[20000:], s["random"]) // far matches
	copy(big[60000:], s["random"])
	s["far"] = big
	mixed := page(func(i int) byte {
		if rng.Intn(3) == 0 {
			return byte(rng.Int())
		}
		return byte(i >> 4)
	})
	s["mixed"] = mixed
	return s
}

func TestRoundTrip(t *testing.T) {
	for name, want := range samples() {
		packed := Compress(want)
		got := make([]byte, len(want))
		n, err := Decompress(got, packed)
		if err != nil || n != len(want) || !bytes.Equal(got, want) {
			t.Errorf("%s: %d of %d bytes, %v", name, n, len(want), err)
		}
		if len(want) == 0 {
			continue
		}
		if _, err := Decompress(make([]byte, len(want)-1), packed); err == nil {
			t.Errorf("%s: unpacked into a buffer that is too short", name)
		}
		for cut := range packed {
			if _, err := Decompress(got, packed[:cut]); err == nil {
				t.Errorf("%s: unpacked without its bytes from %d on", name, cut)
			}
		}
	}
}

func FuzzDecompress(f *testing.F) {
	for name, s := range samples() {
		if name != "far" {
			f.Add(Compress(s))
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		// Memory behind the buffers shows whether they are overrun.
		arena := bytes.Repeat([]byte{0xa5}, 4096+64)
		n, err := Decompress(arena[:4096:4096], src)
		if n > 4096 {
			t.Fatalf("%d bytes into a page", n)
		}
		if tail := arena[4096:]; !bytes.Equal(tail, bytes.Repeat([]byte{0xa5}, 64)) {
			t.Fatal("wrote behind the end")
		}
		if err == nil {
			again := make([]byte, n)
			if m, err := Decompress(again, Compress(arena[:n])); err != nil || m != n || !bytes.Equal(again, arena[:n]) {
				t.Fatalf("packing again: %d of %d bytes, %v", m, n, err)
			}
		}
	})
}
