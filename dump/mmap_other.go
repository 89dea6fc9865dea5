//go:build !linux && !darwin && !freebsd

package dump

import (
	"errors"
	"os"
)

// mapFile always fails here: files are read with ReadAt.
func mapFile(*os.File, int64) ([]byte, error) {
	return nil, errors.New("files are not mapped on this system")
}

func unmapFile([]byte) error { return nil }

func adviseWillNeed([]byte, int64, int64) {}
