package dump

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// hasHoles tells whether a file takes less room on the disk than it has bytes.
func hasHoles(f *os.File) bool {
	st, err := f.Stat()
	if err != nil {
		return false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && st.Mode().IsRegular() && sys.Blocks*512 < st.Size()
}

// writtenAreas are the stretches of a file that are no holes, ascending; what lies
// behind the maxAreas-th counts as written. ok is false where the file system
// does not tell.
func writtenAreas(f *os.File, size int64) (areas []fileRange, ok bool) {
	for off := int64(0); off < size; {
		start, err := f.Seek(off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // holes only up to the end
		}
		if err != nil {
			return nil, false
		}
		end, err := f.Seek(start, unix.SEEK_HOLE)
		if err != nil || end <= start {
			return nil, false
		}
		if len(areas) == maxAreas {
			end = size
		}
		areas = append(areas, fileRange{uint64(start), uint64(end - start)})
		off = end
	}
	return areas, true
}
