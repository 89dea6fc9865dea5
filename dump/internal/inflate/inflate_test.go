package inflate

import (
	"bytes"
	stdadler "hash/adler32"
	"io"
	"math/rand"
	"testing"

	"compress/zlib"

	kzlib "github.com/klauspost/compress/zlib"
)

func pack(data []byte, level int) []byte {
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, level)
	if err != nil {
		panic(err)
	}
	w.Write(data)
	w.Close()
	return b.Bytes()
}

// samples are pages of several kinds.
func samples() [][]byte {
	rng := rand.New(rand.NewSource(1))
	var out [][]byte
	for _, size := range []int{0, 1, 2, 7, 100, 4096, 5000, 65536} {
		for kind := range 9 {
			b := make([]byte, size)
			for i := range b {
				switch kind {
				case 1:
					b[i] = byte(rng.Int())
				case 2:
					b[i] = byte(i % 3)
				case 3:
					b[i] = byte(i / 100)
				case 4:
					b[i] = "struct dentry "[i%14]
				case 5:
					b[i] = byte(rng.NormFloat64() * 8)
				case 6:
					b[i] = byte(rng.ExpFloat64() * 20)
				case 7:
					if i > 50 && rng.Intn(20) != 0 {
						b[i] = b[i-1-rng.Intn(50)]
					} else {
						b[i] = byte(rng.Int())
					}
				case 8:
					b[i] = byte(bitsOf(rng))
				}
			}
			out = append(out, b)
		}
	}
	return out
}

// bitsOf is very skewed, which makes for codes of all lengths.
func bitsOf(rng *rand.Rand) int {
	n := 0
	for rng.Intn(2) == 0 && n < 40 {
		n++
	}
	return n
}

func TestRoundTrip(t *testing.T) {
	var d Decoder
	for i, want := range samples() {
		for level := -2; level <= 9; level++ {
			packed := pack(want, level)
			got := make([]byte, len(want))
			if err := d.Decompress(got, packed); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("sample %d, level %d: %v", i, level, err)
			}
			if err := d.Decompress(make([]byte, len(want)+1), packed); err == nil {
				t.Errorf("sample %d: one byte more unpacked", i)
			}
			if len(want) > 0 {
				if err := d.Decompress(make([]byte, len(want)-1), packed); err == nil {
					t.Errorf("sample %d: one byte less unpacked", i)
				}
			}
			if len(want) <= 4096 {
				for cut := range packed {
					if err := d.Decompress(got, packed[:cut]); err == nil {
						t.Fatalf("sample %d, level %d: unpacked without its bytes from %d on", i, level, cut)
					}
				}
			}
		}
	}
}

func TestAdler(t *testing.T) {
	for i, s := range samples() {
		if adler32(s) != stdadler.Checksum(s) {
			t.Errorf("sample %d of %d bytes", i, len(s))
		}
	}
	ff := bytes.Repeat([]byte{0xff}, 1<<20)
	for n := range 300 {
		if adler32(ff[:n]) != stdadler.Checksum(ff[:n]) {
			t.Errorf("%d times 0xff", n)
		}
	}
	if adler32(ff) != stdadler.Checksum(ff) {
		t.Error("a megabyte of 0xff")
	}
}

// reference unpacks with the standard library.
func reference(dst, src []byte) error {
	r, err := zlib.NewReader(bytes.NewReader(src))
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(r, dst); err != nil {
		return err
	}
	var one [1]byte
	if n, err := r.Read(one[:]); n != 0 || err != io.EOF {
		return ErrLong
	}
	return nil
}

func FuzzDecompress(f *testing.F) {
	for _, s := range samples() {
		if len(s) == 4096 {
			f.Add(pack(s, 1))
			f.Add(pack(s, -2))
		}
	}
	f.Add(pack(make([]byte, 4096), 0))
	var d Decoder
	f.Fuzz(func(t *testing.T, src []byte) {
		arena := bytes.Repeat([]byte{0xa5}, 4096+64)
		err := d.Decompress(arena[:4096:4096], src)
		if !bytes.Equal(arena[4096:], bytes.Repeat([]byte{0xa5}, 64)) {
			t.Fatal("wrote behind the end")
		}
		want := make([]byte, 4096)
		wantErr := reference(want, src)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v, the standard library says %v", err, wantErr)
		}
		if err == nil && !bytes.Equal(arena[:4096], want) {
			t.Fatal("unpacked to something else than with the standard library")
		}
	})
}

// benchPages packs pages like those of a kernel.
func benchPages() (packed [][]byte) {
	rng := rand.New(rand.NewSource(2))
	for range 512 {
		page := make([]byte, 4096)
		for i := 0; i+192 <= len(page); i += 192 {
			for _, at := range []int{0, 16, 24, 48, 88, 96, 104, 128} {
				page[i+at+7], page[i+at+6], page[i+at+5] = 0xff, 0xff, 0x88
				rng.Read(page[i+at+1 : i+at+4])
				page[i+at] = byte(rng.Intn(24) * 8)
			}
			copy(page[i+56:], ".000000_dOeSnotExist_.db")
		}
		var b bytes.Buffer
		w, _ := kzlib.NewWriterLevel(&b, 1)
		w.Write(page)
		w.Close()
		packed = append(packed, b.Bytes())
	}
	return packed
}

func BenchmarkDecompress(b *testing.B) {
	pages := benchPages()
	dst := make([]byte, 4096)
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(4096)
		var d Decoder
		i := 0
		for b.Loop() {
			if err := d.Decompress(dst, pages[i%len(pages)]); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("klauspost", func(b *testing.B) {
		b.SetBytes(4096)
		var in bytes.Reader
		in.Reset(pages[0])
		r, _ := kzlib.NewReader(&in)
		i := 0
		for b.Loop() {
			in.Reset(pages[i%len(pages)])
			r.(kzlib.Resetter).Reset(&in, nil)
			if _, err := io.ReadFull(r, dst); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("adler", func(b *testing.B) {
		b.SetBytes(4096)
		for b.Loop() {
			adler32(dst)
		}
	})
}
