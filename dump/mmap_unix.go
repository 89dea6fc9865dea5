//go:build linux || darwin || freebsd

package dump

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// mapFile maps the first size bytes of a file for reading.
func mapFile(f *os.File, size int64) ([]byte, error) {
	if strconv.IntSize == 32 && size > 1<<30 {
		return nil, errors.New("file too large for this address space")
	}
	return unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

func unmapFile(data []byte) error {
	if data == nil {
		return nil
	}
	return unix.Munmap(data)
}

// adviseWillNeed starts reading a range of a mapping that is not in memory.
func adviseWillNeed(data []byte, off, n int64) {
	page := int64(os.Getpagesize())
	start := off &^ (page - 1)
	// Advice is only advice: a refusal changes nothing for the reader.
	_ = unix.Madvise(data[start:off+n], unix.MADV_WILLNEED)
}
