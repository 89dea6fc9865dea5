package elffile

import (
	"fmt"
	"io"
	"os"
	"unsafe"
)

// readWhole reads the file to the heap, for where it cannot be mapped.
func readWhole(f *os.File, size int64) (*mapping, error) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return &mapping{data: data}, nil
}

// offsetIn is the distance from the start of whole to the start of part, which
// is a slice of it.
func offsetIn(whole, part []byte) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
}
