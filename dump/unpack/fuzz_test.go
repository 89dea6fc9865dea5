package unpack

import (
	"bytes"
	"os"
	"testing"
)

// FuzzUnpack unpacks hostile files, and those of many blocks in both ways.
func FuzzUnpack(f *testing.F) {
	plain := contents(20000)
	for _, kind := range []string{"gzip", "zstd", "xz"} {
		f.Add(pack(f, kind, plain))
	}
	f.Add(pack(f, "xz in blocks", plain[:6000]))
	f.Add([]byte("BZh9\x17rE8P\x90\x00\x00\x00\x00"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		o := Options{Dir: dir, Temp: true, Limit: 1 << 20}
		read := func(r *Result, err error) []byte {
			if err != nil {
				return nil
			}
			defer r.Discard()
			got, err := os.ReadFile(r.Path)
			if err != nil {
				t.Error(err)
			}
			if r.Damage != nil {
				return nil
			}
			return got
		}
		parts := read(Unpack(t.Context(), bytes.NewReader(data), int64(len(data)), o))
		if Detect(data) == "" || parts == nil {
			return
		}
		if whole := read(Spool(t.Context(), bytes.NewReader(data), o)); whole != nil && !bytes.Equal(parts, whole) {
			t.Errorf("%d bytes in parts, %d as a whole", len(parts), len(whole))
		}
	})
}
