package debuginfo

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
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
	magic := make([]byte, 6)
	n, _ := io.ReadFull(f, magic)
	open := decompressorFor(magic[:n])
	if open == nil {
		return unpacked{path: path}, nil
	}
	key, err := contentKey(f)
	if err != nil {
		return unpacked{}, fmt.Errorf("%s: %w", path, err)
	}
	dir, err := o.cache("unpacked")
	if o.noCache || err != nil {
		return unpackTo(os.TempDir(), "", f, open, path)
	}
	cached := filepath.Join(dir, key)
	if info, err := os.Stat(cached); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		return unpacked{path: cached}, nil
	}
	return unpackTo(dir, cached, f, open, path)
}

// cache returns a directory below the cache directory, and makes it.
func (o *options) cache(name string) (string, error) {
	dir := o.cacheDir
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(base, "mortem")
	}
	dir = filepath.Join(dir, name)
	return dir, os.MkdirAll(dir, 0o700)
}

// contentKey is a file name for the unpacked contents of f.
func contentKey(f *os.File) (string, error) {
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

// unpackTo unpacks into a temporary file in dir, which then gets its final
// name, or keeps its temporary one where that is empty.
func unpackTo(dir, final string, f *os.File, open decompressor, path string) (unpacked, error) {
	temp, err := os.CreateTemp(dir, "mortem-unpack-*")
	if err != nil {
		return unpacked{}, fmt.Errorf("unpacking %s: %w", path, err)
	}
	defer temp.Close()
	err = copyUnpacked(temp, f, open)
	if err == nil && final != "" {
		err = os.Rename(temp.Name(), final)
	}
	if err != nil {
		os.Remove(temp.Name())
		return unpacked{}, fmt.Errorf("unpacking %s: %w", path, err)
	}
	if final == "" {
		return unpacked{path: temp.Name(), temp: true}, nil
	}
	return unpacked{path: final}, nil
}

func copyUnpacked(temp, f *os.File, open decompressor) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r, err := open(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return err
	}
	n, err := io.Copy(temp, io.LimitReader(r, maxUnpacked))
	if err == nil && n == maxUnpacked {
		err = fmt.Errorf("unpacks to more than %d bytes", int64(maxUnpacked))
	}
	return err
}

type decompressor func(io.Reader) (io.Reader, error)

// decompressorFor chooses by the first bytes of the file, nil for a file that
// is not compressed.
func decompressorFor(magic []byte) decompressor {
	switch {
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		return func(r io.Reader) (io.Reader, error) { return xz.NewReader(r, xz.DefaultDictMax*8) }
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		return func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		return func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) }
	}
	return nil
}
