package elffile

import (
	"bytes"
	"fmt"
	"io"

	"github.com/mikelolasagasti/xz"

	"github.com/kmortem/mortem/kernel/debuginfo/mapfile"
)

// MiniDebug opens the small ELF file, compressed with xz, that distributions
// put into the section .gnu_debugdata of stripped files: it has the symbols of
// functions. It is nil where there is none. It fails where that is damaged, or
// unpacks to more than such files have.
func (f *File) MiniDebug() (*File, error) {
	data, err := f.Section(".gnu_debugdata")
	if err != nil || data == nil {
		return nil, err
	}
	var plain []byte
	err = mapfile.Guard(f.path, func() error {
		r, err := xz.NewReader(bytes.NewReader(data), 0)
		if err != nil {
			return err
		}
		limit := int64(max(alwaysAllow, maxRatio*len(data)))
		plain, err = io.ReadAll(io.LimitReader(r, limit))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: section .gnu_debugdata: %w", f.path, err)
	}
	return New(f.path+" (.gnu_debugdata)", plain)
}
