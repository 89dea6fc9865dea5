// Package cache keeps files in the user's cache directory: unpacked dumps and
// vmlinux files, indexes of debug information, and files out of packages.
package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Dir returns a directory for one kind of files, and makes it. An empty base
// stands for "mortem" in the user's cache directory (os.UserCacheDir). It fails
// where there is none, or where it cannot be made.
func Dir(base, kind string) (string, error) {
	if base == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no cache directory: %w", err)
		}
		base = filepath.Join(user, "mortem")
	}
	dir := filepath.Join(base, kind)
	return dir, os.MkdirAll(dir, 0o700)
}

// Key is a file name for what is made of a packed file: a hash of its size and
// of 64 KiB at its beginning, middle and end. The last part has the checksums of
// the contents that all packers write. size is in bytes; errors are those of
// reading.
func Key(r io.ReaderAt, size int64) (string, error) {
	const part = 64 << 10
	h := sha256.New()
	fmt.Fprintln(h, size)
	for _, at := range []int64{0, size / 2, max(0, size-part)} {
		if _, err := io.Copy(h, io.NewSectionReader(r, at, min(part, size-at))); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:20]), nil
}

// FileKey is Key for an opened file. Errors are those of the file system.
func FileKey(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	return Key(f, info.Size())
}

// Has tells whether a file is there and not empty.
func Has(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}

// Write has a file written under another name, and gives it its own when it is
// complete, so that nobody sees half of it. Whoever is last wins. Where write
// fails, or the file system does, the error is theirs and nothing is left.
func Write(path string, write func(*os.File) error) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer temp.Close()
	err = write(temp)
	if e := temp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		os.Remove(temp.Name())
	}
	return err
}
