// Package remote reads dumps that lie on a server: of a file of 100 GB it moves
// only the parts that are asked for, keeps them on disk for the next time, and
// reads ahead where somebody reads on and on.
//
// Importing it has dump.Open read https:// and http:// URLs. Package
// github.com/kmortem/mortem/dump/cloud, a module of its own because of the
// libraries that it needs, adds s3://, gs:// and azblob:// by the same means.
package remote

import (
	"context"
	"errors"
	"io"

	"github.com/kmortem/mortem/dump"
)

// Object is one file on a server.
type Object interface {
	// Name is the URL without passwords and signatures.
	Name() string
	// Size is in bytes.
	Size() int64
	// Version is a text that is another one when the contents are others: an
	// ETag, or a time. What has none is not kept on disk.
	Version() string
	// Range reads n bytes from the offset off on, both within the object. It
	// returns ErrChanged where the object is not the one that was opened. An
	// error that trying again cannot help is a *PermanentError.
	Range(ctx context.Context, off, n int64) (io.ReadCloser, error)
	// Close ends the use of the object.
	Close() error
}

// ErrChanged: the object on the server is not the one that was opened.
var ErrChanged = errors.New("the file on the server was changed while it was being read")

// PermanentError is an error that trying again does not help.
type PermanentError struct{ Err error }

// Error is the cause's text.
func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PermanentError) Unwrap() error { return e.Err }

// Options says how a remote dump is read. The zero value is good.
type Options struct {
	// BlockSize is the unit of reading and keeping, in bytes; 256 KiB if 0.
	BlockSize int64
	// Memory bounds the blocks held in memory, in bytes; 64 MiB if 0.
	Memory int64
	// CacheDir is the directory below which blocks are kept on disk; without
	// it that is the directory "mortem" in the user's cache directory.
	CacheDir string
	// Disk bounds the blocks kept on disk of all dumps together, in bytes; 32
	// GiB if 0, and none are kept if it is negative. Dumps that were not used
	// for the longest time go first; what then still does not fit is not
	// kept.
	Disk int64
	// ReadAhead bounds what is read before it is asked for, in bytes; 16 MiB
	// if 0, nothing if negative.
	ReadAhead int64
	// Progress is told how far the download is of a file that its server does
	// not give in parts. It may be nil.
	Progress func(dump.Progress)
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *int64
		value int64
	}{{&o.BlockSize, 256 << 10}, {&o.Memory, 64 << 20}, {&o.Disk, 32 << 30}, {&o.ReadAhead, 16 << 20}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.Progress == nil {
		o.Progress = func(dump.Progress) {}
	}
	return o
}

// Register has dump.Open read the URLs of a scheme as the objects that open
// opens, and fail as open fails.
func Register(scheme string, open func(ctx context.Context, url string) (Object, error)) {
	dump.RegisterOpener(scheme, func(ctx context.Context, url string, o dump.OpenerOptions) (dump.Source, error) {
		obj, err := open(ctx, url)
		if err != nil {
			return dump.Source{}, err
		}
		return NewReader(ctx, obj, Options{CacheDir: o.CacheDir, Progress: o.Progress}).Source(), nil
	})
}

func init() {
	for _, scheme := range []string{"https", "http"} {
		dump.RegisterOpener(scheme, func(ctx context.Context, url string, o dump.OpenerOptions) (dump.Source, error) {
			return Open(ctx, url, Options{CacheDir: o.CacheDir, Progress: o.Progress})
		})
	}
}
