//go:build !unix

package elffile

import "os"

// mapping is a file's contents, read to the heap where there is no mmap.
type mapping struct {
	data   []byte
	mapped bool
}

func mapFile(f *os.File, size int64) (*mapping, error) { return readWhole(f, size) }

func (m *mapping) close() error {
	m.data = nil
	return nil
}

func (m *mapping) release([]byte) {}
