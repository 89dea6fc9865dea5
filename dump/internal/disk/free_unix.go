//go:build linux || darwin || freebsd

// Package disk answers how much room there is.
package disk

import "golang.org/x/sys/unix"

// Free is what an ordinary user may still write to the disk of a directory, in
// bytes; ok is false where that cannot be told.
func Free(dir string) (bytes int64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}
