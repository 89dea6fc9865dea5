package unpack

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// partial begins the names of files that are being written.
const partial = ".partial-"

// stale is the age at which a partial file belongs to a process that is gone:
// writing changes a file's time all the while.
const stale = 24 * time.Hour

// unused is the time after which an unpacked file that nobody has opened is
// removed.
const unused = 30 * 24 * time.Hour

// removeStale removes the partial files that dead processes have left behind,
// and unpacked ones that were not used for long.
func removeStale(dir string) {
	for _, f := range files(dir) {
		limit := unused
		if strings.HasPrefix(f.Name(), partial) {
			limit = stale
		}
		if time.Since(f.ModTime()) > limit {
			_ = os.Remove(filepath.Join(dir, f.Name())) // it is only in the way
		}
	}
}

// unusedFor protects what another process has just unpacked or opened.
const unusedFor = 10 * time.Minute

// removeOldest removes the unpacked file below the cache directory that was not
// used for the longest time, and tells whether there was one.
func removeOldest(cache string) bool {
	dir := filepath.Join(cache, "unpacked")
	var oldest os.FileInfo
	for _, f := range files(dir) {
		name := f.Name()
		if strings.HasPrefix(name, partial) || strings.HasSuffix(name, ".lock") || time.Since(f.ModTime()) < unusedFor {
			continue
		}
		if oldest == nil || f.ModTime().Before(oldest.ModTime()) {
			oldest = f
		}
	}
	return oldest != nil && os.Remove(filepath.Join(dir, oldest.Name())) == nil
}

// files are the regular files of a directory.
func files(dir string) []os.FileInfo {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var list []os.FileInfo
	for _, e := range entries {
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
			list = append(list, st)
		}
	}
	return list
}
