package dump

import (
	"errors"
	"fmt"
)

// errorAt corrects the address of a read error to the first byte asked for:
// the cache knows pages only. The error may be shared by several readers, so
// it is copied.
func errorAt(err error, addr uint64) error {
	var re *ReadError
	if errors.As(err, &re) && re.Addr != addr {
		copied := *re
		copied.Addr = addr
		return &copied
	}
	return err
}

// guardedCopy copies bytes that may lie in a mapping.
func guardedCopy(dst, src []byte, addr uint64) (n int, err error) {
	err = Guard(func() error {
		n = copy(dst, src)
		return nil
	})
	if err != nil {
		return 0, errorAt(err, addr)
	}
	return n, nil
}

// copyPhys is ViewPhys for what no page holds in one stretch.
func copyPhys(img Image, addr uint64, n int) ([]byte, error) {
	if n < 0 || uint64(n) > img.Facts().PageSize {
		return nil, fmt.Errorf("a view of %d bytes at physical address %#x: not within a page of %d bytes", n, addr, img.Facts().PageSize)
	}
	buf := make([]byte, n)
	if _, err := img.ReadPhys(buf, addr); err != nil {
		return nil, err
	}
	return buf, nil
}
