package debuginfo

import (
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// packedZeros is a few bytes of zstd that stand for n zeros.
func packedZeros(t *testing.T, n int) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return enc.EncodeAll(make([]byte, n), nil)
}

// A table of lines whose few bytes claim to be tens of megabytes is refused before
// they are unpacked.
func TestPackedLinesBomb(t *testing.T) {
	le := binary.LittleEndian
	bomb := packedZeros(t, 48<<20)
	names := append(append(le.AppendUint32(nil, uint32(len(bomb))), bomb...), 0, 0, 0, 0)
	none := packedZeros(t, 1)
	blocks := append(le.AppendUint32(nil, uint32(len(none))), none...)
	blocks = le.AppendUint32(blocks, 1)
	blocks = le.AppendUint64(blocks, 0x400000)
	blocks = le.AppendUint32(le.AppendUint32(blocks, uint32(len(bomb))), 1)
	blocks = append(blocks, bomb...)
	used := allocated(func() {
		if _, err := decodeLines(names); !errors.Is(err, errPackedLines) {
			t.Errorf("names of %d bytes that unpack to 48 MiB: %v", len(bomb), err)
		}
		table, err := decodeLines(blocks)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok, err := table.find(0x400000); ok || !errors.Is(err, errPackedLines) {
			t.Errorf("a block of one row that unpacks to 48 MiB: %v, %v", ok, err)
		}
	})
	if used > 32<<20 {
		t.Errorf("%d MiB were taken", used>>20)
	}
}

// allocated is how many bytes run allocates.
func allocated(run func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
