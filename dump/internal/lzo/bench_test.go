package lzo

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"testing"
)

// BenchmarkDecompress unpacks pages of slab-like objects: pointers, numbers and names.
func BenchmarkDecompress(b *testing.B) {
	rng := rand.New(rand.NewSource(1))
	packed := make([][]byte, 64)
	for i := range packed {
		page := make([]byte, 4096)
		for at := 0; at+192 <= len(page); at += 192 {
			obj := page[at : at+192]
			for _, field := range []int{0, 16, 24, 48, 88, 96, 104, 128, 144, 176} {
				binary.LittleEndian.PutUint64(obj[field:], 0xffff888000000000|uint64(rng.Int63n(1<<30))&^7)
			}
			copy(obj[56:], fmt.Sprintf(".%06d_dOeSnotExist_.db", rng.Intn(1e6)))
		}
		packed[i] = Compress(page)
	}
	page := make([]byte, 4096)
	b.SetBytes(int64(len(page)))
	i := 0
	for b.Loop() {
		if n, err := Decompress(page, packed[i%len(packed)]); err != nil || n != len(page) {
			b.Fatal(n, err)
		}
		i++
	}
}
