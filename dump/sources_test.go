package dump

import (
	"bytes"
	"testing"
)

// openBytes opens a dump that is in memory.
func openBytes(t testing.TB, files ...[]byte) Image {
	t.Helper()
	img, err := openMemory(files...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return img
}

func openMemory(files ...[]byte) (Image, error) {
	var sources []Source
	for _, data := range files {
		sources = append(sources, Source{Name: "memory", Size: int64(len(data)), ReaderAt: bytes.NewReader(data)})
	}
	return OpenSources(sources, WithCache(64<<20), WithoutScan())
}
