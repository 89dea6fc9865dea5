//go:build linux || darwin || freebsd

package remote

import (
	"os"
	"syscall"
)

// onDisk is what a file takes of the disk, without its holes, in bytes.
func onDisk(f os.FileInfo) int64 {
	if st, ok := f.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return f.Size()
}
