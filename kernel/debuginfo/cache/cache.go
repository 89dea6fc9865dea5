// Package cache keeps files in the user's cache directory: unpacked vmlinux
// files, indexes of debug information, and files out of packages.
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
// stands for "mortem" in the user's cache directory.
func Dir(base, kind string) (string, error) {
	if base == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		base = filepath.Join(user, "mortem")
	}
	dir := filepath.Join(base, kind)
	return dir, os.MkdirAll(dir, 0o700)
}

// Key is a file name for what is made of a compressed file: by its size and a
// hash over its first and last 64 KB. Compressors put checksums of the contents
// at the end.
func Key(f *os.File) (string, error) {
	const end = 64 << 10
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, info.Size())
	for _, at := range []int64{0, max(0, info.Size()-end)} {
		if _, err := io.Copy(h, io.NewSectionReader(f, at, end)); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:20]), nil
}

// Has tells whether a file is there and not empty.
func Has(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}

// Write has a file written under another name, and gives it its own when it is
// complete, so that nobody sees half of it. Whoever is last wins.
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
