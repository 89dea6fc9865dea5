package debuginfo

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/kmortem/mortem/kernel/debuginfo/cache"
	"github.com/kmortem/mortem/kernel/debuginfo/decompress"
)

// unpacked is a file that can be mapped: the one given, or an unpacked copy.
type unpacked struct {
	path string
	temp bool
}

// done is called when the file is open.
func (u unpacked) done() {
	if u.temp {
		os.Remove(u.path)
	}
}

// maxUnpacked bounds what a compressed file may grow to: a vmlinux with
// everything in it has about 4 GB.
const maxUnpacked = 16 << 30

// unpackedPath unpacks a file that is compressed as a whole, once: the copy
// stays in the cache directory under a name made of the file's size and of a
// hash over both its ends, where the compressors' checksums of the contents are.
func unpackedPath(path string, o *options) (unpacked, error) {
	f, err := os.Open(path)
	if err != nil {
		return unpacked{}, fmt.Errorf("debug information: %w", err)
	}
	defer f.Close()
	start := make([]byte, 6)
	n, _ := io.ReadFull(f, start)
	if decompress.Detect(start[:n]) == decompress.None {
		return unpacked{path: path}, nil
	}
	key, err := cache.Key(f)
	if err != nil {
		return unpacked{}, fmt.Errorf("%s: %w", path, err)
	}
	dir, err := cache.Dir(o.cacheDir, "unpacked")
	if o.noCache || err != nil {
		return unpackTemporarily(f, path)
	}
	cached := filepath.Join(dir, key)
	if cache.Has(cached) {
		return unpacked{path: cached}, nil
	}
	err = cache.Write(cached, func(out *os.File) error { return copyUnpacked(out, f) })
	if err != nil {
		return unpacked{}, fmt.Errorf("unpacking %s: %w", path, err)
	}
	return unpacked{path: cached}, nil
}

// unpackTemporarily unpacks to a file that is removed when it has been opened.
func unpackTemporarily(f *os.File, path string) (unpacked, error) {
	temp, err := os.CreateTemp("", "mortem-unpack-*")
	if err != nil {
		return unpacked{}, fmt.Errorf("unpacking %s: %w", path, err)
	}
	defer temp.Close()
	if err := copyUnpacked(temp, f); err != nil {
		os.Remove(temp.Name())
		return unpacked{}, fmt.Errorf("unpacking %s: %w", path, err)
	}
	return unpacked{path: temp.Name(), temp: true}, nil
}

func copyUnpacked(out, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := decompress.File(f, info.Size())
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(out, io.LimitReader(r, maxUnpacked))
	if err == nil && n == maxUnpacked {
		err = fmt.Errorf("unpacks to more than %d bytes", int64(maxUnpacked))
	}
	return err
}
