package dump_test

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// TestBeyond16TiB: page frame numbers of more than 32 bits, which only the
// 64-bit fields of header version 6 can say. The file is a small dump whose
// bitmaps are moved far apart by holes.
func TestBeyond16TiB(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("short run: bitmaps of 600 MB are gone through")
	}
	const (
		pfn    = 1<<32 + 4711 // the only page
		half   = 600 << 20    // of each bitmap
		blocks = 2 * half / 4096
	)
	cfg := testConfig(4096)
	small := build(t, dumpwriter.Kdump, dumpwriter.PageMap{0: []byte("far away")}, cfg)
	at := findPlaces(small, 4096, 1)
	le := binary.LittleEndian
	le.PutUint32(small[436:], blocks)
	le.PutUint32(small[440:], 0xffffffff) // max_mapnr
	le.PutUint64(small[at.sub+88:], pfn+1)
	le.PutUint64(small[at.sub+96:], pfn+1) // max_mapnr_64

	path := file(t, small[:at.maps1])
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	descs := int64(at.maps1) + 2*half
	put := func(data []byte, off int64) {
		if _, err := f.WriteAt(data, off); err != nil {
			t.Skip("the file system keeps no sparse file of this size: ", err)
		}
	}
	put([]byte{1 << (pfn % 8)}, int64(at.maps1)+pfn/8)
	put([]byte{1 << (pfn % 8)}, int64(at.maps1)+half+pfn/8)
	desc := le.AppendUint64(nil, uint64(descs)+24)
	desc = le.AppendUint32(desc, 4096)
	put(append(desc, make([]byte, 12)...), descs)
	put(small[at.data:], descs+24)

	img := mustOpen(t, []string{path})
	if f := img.Facts(); f.Incomplete || len(f.Warnings) > 0 || f.MaxPhys != (pfn+1)<<12 {
		t.Errorf("facts: %+v", f)
	}
	if view, err := img.ViewPhys(pfn<<12, 8); err != nil || string(view) != "far away" {
		t.Errorf("%q, %v", view, err)
	}
	for r := range img.Ranges() {
		if r != (dump.Range{Start: pfn << 12, End: (pfn + 1) << 12}) {
			t.Errorf("range %#x", r)
		}
	}
}
