package debuginfo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/kmortem/mortem/kernel/debuginfo/dwarf"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
	"github.com/kmortem/mortem/kernel/debuginfo/mpack"
)

// Option changes how Open works.
type Option func(*options)

type options struct {
	cacheDir string
	noCache  bool
	ctx      context.Context
	progress func(what string, done, total int64)

	debugDirs []string
}

// CacheDir says where unpacked files and indexes are kept; without it that is
// the directory "mortem" in the user's cache directory.
func CacheDir(dir string) Option { return func(o *options) { o.cacheDir = dir } }

// WithContext ends opening when ctx is done: the waiting for a pipe, and
// unpacking.
func WithContext(ctx context.Context) Option { return func(o *options) { o.ctx = ctx } }

// Progress has fn called now and then from one goroutine while a compressed file
// is unpacked, with the compressed bytes that are done; total is 0 for a pipe.
func Progress(fn func(what string, done, total int64)) Option {
	return func(o *options) { o.progress = fn }
}

// NoCache keeps Open from reading or writing index files. A compressed file
// is unpacked to a temporary file that is removed at once.
func NoCache() Option { return func(o *options) { o.noCache = true } }

// Open reads the debug information of a kernel or module from an ELF file:
// vmlinux, a separated debug file, or a module; also one that is compressed as
// a whole with xz, gzip, zstd or bzip2, or comes out of a pipe. The error wraps
// elffile.ErrNotELF for another kind of file, dwarf.ErrNoDWARF for one without
// debug information, or that of the file system, and says what to do.
func Open(path string, opts ...Option) (Source, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	plain, err := unpackedPath(path, &o)
	if err != nil {
		return nil, err
	}
	defer plain.done()
	if isPack(plain.path) {
		return openPack(plain.path)
	}
	elf, err := elffile.Open(plain.path)
	if err != nil {
		return nil, explain(path, err)
	}
	src, err := openDWARF(path, elf, &o)
	if err != nil {
		return nil, explain(path, err)
	}
	return src, nil
}

func isPack(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	start := make([]byte, 8)
	n, _ := io.ReadFull(f, start)
	return mpack.Is(start[:n])
}

// explain adds what to do about an error.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, elffile.ErrNotELF):
		if st, statErr := os.Stat(path); statErr == nil && st.Mode().IsRegular() && st.Size() == 0 {
			return fmt.Errorf("%w: the file is empty", err)
		}
		return fmt.Errorf("%w; a vmlinux with debug information is needed", err)
	case errors.Is(err, errModuleBTF):
		return fmt.Errorf("%w; give the module's debug file", err)
	case errors.Is(err, dwarf.ErrNoDWARF):
		return fmt.Errorf("%w; install the debug package of exactly this kernel (a stripped vmlinux or a vmlinuz has none)", err)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("debug information: %w", err)
	}
	return err
}
