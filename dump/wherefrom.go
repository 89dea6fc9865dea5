package dump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/kmortem/mortem/dump/unpack"
)

// WithCacheDir says where unpacked dumps, those read from pipes, and blocks of
// remote ones are kept; without it that is the directory "mortem" in the user's
// cache directory (os.UserCacheDir).
func WithCacheDir(dir string) Option { return func(o *options) { o.cacheDir = dir } }

// origin is what became of a file before it could be read.
type origin struct {
	how    string // "packed with xz", "from a pipe"; empty for a file as it is
	damage error  // why there is not all of it
	meters []Meter
}

func (o *origin) comesFrom() *origin { return o }

// originOf is the origin of a file, nil if nothing is to be said about it.
func originOf(s store) *origin {
	if flat, ok := s.(*flatStore); ok {
		s = flat.under
	}
	if from, ok := s.(interface{ comesFrom() *origin }); ok {
		return from.comesFrom()
	}
	return nil
}

// standardInput is the name that stands for it, and the one in messages.
const (
	standardInput     = "-"
	standardInputName = "standard input"
)

// openAny opens what a name stands for: a file, standard input, a pipe, or a
// URL; and unpacks it, if it is packed.
func openAny(path string, o *options) (store, error) {
	s, err := openNamed(path, o)
	for range 2 { // a file may be packed twice
		if err != nil {
			return nil, err
		}
		how := ""
		if err = Guard(func() error { how = unpack.Detect(headOf(s)); return nil }); err != nil || how == "" {
			break
		}
		s, err = unpackStore(s, how, o)
	}
	if err != nil {
		return nil, err
	}
	u, err := unflatten(s)
	if err != nil {
		_ = s.close() // opened for reading only
		return nil, err
	}
	return u, nil
}

func openNamed(path string, o *options) (store, error) {
	if open, scheme := openerFor(path); scheme != "" {
		return openURL(open, scheme, path, o)
	}
	if path == standardInput {
		st, err := os.Stdin.Stat()
		if err != nil {
			return nil, fileOpenError(standardInputName, err)
		}
		switch {
		case st.Mode().IsRegular():
			return openFile(os.Stdin, standardInputName, o.noMap)
		case st.Mode()&os.ModeCharDevice != 0:
			return nil, &FileError{File: standardInputName, Offset: -1, Kind: ErrFormat, What: "no dump comes from there; pipe one into it"}
		}
		return spoolStore(os.Stdin, standardInputName, o)
	}
	if unpack.IsPipe(path) {
		f, err := unpack.OpenPipe(o.ctx, path)
		if err != nil {
			return nil, fileOpenError(path, err)
		}
		defer f.Close()
		return spoolStore(f, path, o)
	}
	return openStore(path, o.noMap)
}

// unpacking are the options for unpacking the file of that name.
func (o *options) unpacking(what, name string) unpack.Options {
	u := unpack.Options{Dir: o.cacheDir, Progress: func(done, total int64) { o.tell(what+" "+name, done, total) }}
	if !o.raw {
		u.Check = func(head []byte) error { return refuse(name, head) }
	}
	return u
}

// unpackStore takes the place of a packed file with its contents.
func unpackStore(s store, how string, o *options) (store, error) {
	defer s.close()
	from := origin{how: "packed with " + how, meters: metersOf(s)}
	if old := originOf(s); old != nil && old.how != "" {
		from.how = old.how + ", " + from.how
	}
	r, err := unpack.Unpack(o.ctx, storeReader{s}, s.size(), o.unpacking("unpacking", s.name()))
	if err != nil {
		return nil, unpackError(s.name(), "it is packed with "+how+" and cannot be unpacked", err)
	}
	return openUnpacked(r, s.name(), from, o)
}

// spoolStore reads a pipe to its end.
func spoolStore(r io.Reader, name string, o *options) (store, error) {
	res, err := unpack.Spool(o.ctx, r, o.unpacking("reading", name))
	if err != nil {
		return nil, unpackError(name, "it cannot be read into a file", err)
	}
	return openUnpacked(res, name, origin{how: "from a pipe"}, o)
}

func unpackError(name, what string, err error) error {
	var fe *FileError
	if errors.As(err, &fe) {
		return err // of refuse
	}
	return &FileError{File: name, Offset: -1, What: what + ": " + err.Error(), Err: err}
}

// openUnpacked opens the file that unpacking made under the name of the packed
// one.
func openUnpacked(r *unpack.Result, name string, from origin, o *options) (store, error) {
	defer r.Discard()
	from.damage = r.Damage
	f, err := os.Open(r.Path)
	if err != nil {
		return nil, fileOpenError(r.Path, err)
	}
	s, err := openFile(f, name, o.noMap)
	if err != nil {
		return nil, err
	}
	*originOf(s) = from
	return s, nil
}

// storeReader reads a store as an io.ReaderAt, from any goroutine.
type storeReader struct{ store }

func (s storeReader) ReadAt(p []byte, off int64) (n int, err error) {
	err = Guard(func() error {
		want := p[:max(0, min(int64(len(p)), s.size()-off))]
		data, err := s.view(off, len(want), want)
		if err == nil {
			n = copy(p, data)
		}
		return err
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// tellOrigins adds to the facts what became of the files.
func (f *Facts) tellOrigins(stores []store) {
	for _, s := range stores {
		if from := originOf(s); from != nil && from.damage != nil {
			f.Incomplete = true
			f.warn("%s is damaged or cut short where it is %s, and has %d bytes: %v", s.name(), from.how, s.size(), from.damage)
		}
		f.meters = append(f.meters, metersOf(s)...)
	}
}

// Meter is what the io.ReaderAt of a Source may implement to tell what it has
// cost so far.
type Meter interface {
	// Moved is how many bytes came over the network, and in answer to how
	// many requests.
	Moved() (bytes, requests int64)
}

// metersOf are the meters of a file.
func metersOf(s store) []Meter {
	if flat, ok := s.(*flatStore); ok {
		s = flat.under
	}
	if r, ok := s.(*readerStore); ok {
		if m, ok := r.ReaderAt.(Meter); ok {
			return []Meter{m}
		}
	}
	if from := originOf(s); from != nil {
		return from.meters
	}
	return nil
}

// Moved is how many bytes of a remote dump came over the network until now, and
// in answer to how many requests; ok is false for a dump that is not remote.
func Moved(img Image) (bytes, requests int64, ok bool) {
	for _, m := range img.Facts().meters {
		b, r := m.Moved()
		bytes, requests, ok = bytes+b, requests+r, true
	}
	return bytes, requests, ok
}

// OpenerOptions is what Open passes on to an Opener.
type OpenerOptions struct {
	CacheDir string         // as WithCacheDir says; may be empty
	Progress func(Progress) // may not be nil
}

// Opener opens what a URL names. The context is of opening and of the reads
// that follow.
type Opener func(ctx context.Context, url string, o OpenerOptions) (Source, error)

// errNoOpener is the cause for a URL that this program cannot read.
var errNoOpener = errors.New("this program does not read such URLs")

// openURL opens a remote dump.
func openURL(open Opener, scheme, url string, o *options) (store, error) {
	if open == nil {
		return nil, &FileError{File: withoutSecrets(url), Offset: -1, Kind: ErrUnsupported,
			What: fmt.Sprintf("this program does not read URLs that begin with %s://", scheme), Err: errNoOpener}
	}
	src, err := open(o.ctx, url, OpenerOptions{CacheDir: o.cacheDir, Progress: func(p Progress) { o.tell(p.What, p.Done, p.Total) }})
	if err != nil {
		var fe *FileError
		if errors.As(err, &fe) {
			return nil, err
		}
		return nil, &FileError{File: withoutSecrets(url), Offset: -1, What: err.Error(), Err: err}
	}
	if src.Size == 0 {
		if src.Closer != nil {
			_ = src.Closer.Close() // opened for reading only
		}
		return nil, &FileError{File: src.Name, Offset: -1, Kind: ErrFormat, What: "the file is empty"}
	}
	return &readerStore{Source: src}, nil
}

// withoutSecrets is a URL without its user, password and query, where
// signatures are.
func withoutSecrets(url string) string {
	url, _, _ = strings.Cut(url, "?")
	scheme, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	if _, after, ok := strings.Cut(host, "@"); ok {
		host = after
	}
	return scheme + "://" + host + "/" + path
}
