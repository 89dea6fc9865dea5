//go:build unix

package elffile

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapping is a file's contents, mapped where the system can.
type mapping struct {
	data   []byte
	mapped bool
}

// mapFile maps the whole file for reading.
func mapFile(f *os.File, size int64) (*mapping, error) {
	if size == 0 {
		return &mapping{}, nil
	}
	if int64(int(size)) != size {
		return nil, fmt.Errorf("%s: %d bytes do not fit this machine's address space", f.Name(), size)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return readWhole(f, size)
	}
	return &mapping{data: data, mapped: true}, nil
}

func (m *mapping) close() error {
	data := m.data
	m.data = nil
	if !m.mapped {
		return nil
	}
	return unix.Munmap(data)
}

// release lets go of the physical pages behind a part of the mapping; they
// come back from the page cache when they are touched again.
func (m *mapping) release(part []byte) {
	if !m.mapped || len(part) == 0 {
		return
	}
	page := uintptr(os.Getpagesize())
	start := offsetIn(m.data, part)
	end := start + uintptr(len(part))
	start = (start + page - 1) &^ (page - 1)
	end &^= page - 1
	if start < end && end <= uintptr(len(m.data)) {
		_ = unix.Madvise(m.data[start:end], unix.MADV_DONTNEED)
	}
}
