package debuginfo

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/kmortem/mortem/dump/cache"
	"github.com/kmortem/mortem/dump/decompress"
	"github.com/kmortem/mortem/dump/unpack"
)

// unpacked is a file that can be mapped: the one given, or an unpacked copy.
type unpacked struct {
	path string
	copy *unpack.Result // nil for the file given
	dir  string         // made for the copy alone; may be empty
}

// done is called when the file is open.
func (u unpacked) done() {
	if u.copy != nil {
		u.copy.Discard()
	}
	if u.dir != "" {
		_ = os.RemoveAll(u.dir) // in the directory for temporary files, where others clean up
	}
}

// maxUnpacked bounds what a compressed file may grow to: a vmlinux with
// everything in it has about 4 GB.
const maxUnpacked = 16 << 30

// unpackedPath makes a file of a pipe, and unpacks a file that is compressed as a
// whole, once: the copy stays in the cache directory, unless that is not wanted.
func unpackedPath(path string, o *options) (unpacked, error) {
	if unpack.IsPipe(path) {
		return spooled(path, o)
	}
	f, err := os.Open(path)
	if err != nil {
		return unpacked{}, fmt.Errorf("debug information: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return unpacked{}, fmt.Errorf("debug information: %w", err)
	}
	start := make([]byte, 6)
	n, _ := io.ReadFull(f, start)
	if decompress.Detect(start[:n]) == decompress.None {
		return unpacked{path: path}, nil
	}
	return makeCopy(path, o, func(u unpack.Options) (*unpack.Result, error) {
		return unpack.Unpack(o.context(), f, info.Size(), u)
	})
}

// spooled is a copy of what comes from a pipe.
func spooled(path string, o *options) (unpacked, error) {
	f, err := unpack.OpenPipe(o.context(), path)
	if err != nil {
		return unpacked{}, fmt.Errorf("debug information: %s: %w", path, err)
	}
	defer f.Close()
	return makeCopy(path, o, func(u unpack.Options) (*unpack.Result, error) {
		return unpack.Spool(o.context(), f, u)
	})
}

// makeCopy has a copy made in the cache directory, or, where there can be none,
// in a directory of its own.
func makeCopy(path string, o *options, unpackTo func(unpack.Options) (*unpack.Result, error)) (u unpacked, err error) {
	opt := unpack.Options{Dir: o.cacheDir, Temp: o.noCache, Limit: maxUnpacked}
	if _, err := cache.Dir(o.cacheDir, "unpacked"); err != nil {
		if u.dir, err = os.MkdirTemp("", "mortem-unpack-*"); err != nil {
			return u, fmt.Errorf("unpacking %s: %w", path, err)
		}
		opt.Dir, opt.Temp = u.dir, true
	}
	if o.progress != nil {
		opt.Progress = func(done, total int64) { o.progress("unpacking "+path, done, total) }
	}
	u.copy, err = unpackTo(opt)
	if err == nil && u.copy.Damage != nil {
		err = u.copy.Damage
	}
	if err != nil {
		u.done()
		return unpacked{}, fmt.Errorf("unpacking %s: %w", path, err)
	}
	u.path = u.copy.Path
	return u, nil
}

func (o *options) context() context.Context {
	if o.ctx == nil {
		return context.Background()
	}
	return o.ctx
}
