package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/kmortem/mortem/dump"
	_ "github.com/kmortem/mortem/dump/remote" // https:// and, with mortem-cloud, the clouds
)

// dumpNames says what may stand for a dump on the command line.
const dumpNames = `A dump is a file, or several if it was split; "-" or a pipe; or a URL: https://, and s3://,
gs:// and azblob:// if the program mortem-cloud is installed beside this one. Files packed as a
whole by gzip, xz, zstd or bzip2 are unpacked once into the user's cache directory.
`

// rawMemory is the flag --raw-memory: where in memory a file without headers begins.
type rawMemory struct {
	set   bool
	start uint64
}

func (r *rawMemory) String() string { return "" }
func (r *rawMemory) Type() string   { return "address" }
func (r *rawMemory) Set(text string) (err error) {
	r.set = true
	r.start, err = strconv.ParseUint(text, 0, 64)
	return err
}

// cacheSize is a flag's value of bytes, with the letters K, M, G or T.
type cacheSize int64

func (s *cacheSize) String() string { return "" }
func (s *cacheSize) Type() string   { return "size" }
func (s *cacheSize) Set(text string) error {
	number, shift := text, 0
	if last := len(text) - 1; last > 0 {
		if i := strings.IndexByte("KMGT", text[last]&^0x20); i >= 0 {
			number, shift = text[:last], 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > 1<<50>>shift {
		return errors.New("want a number of bytes such as 512M or 2G")
	}
	*s = cacheSize(n << shift)
	return nil
}

// imageFlags adds the flags about the dump, which all commands have.
func (a *app) imageFlags(f *pflag.FlagSet) {
	// Without "-memory" it is the same for all but bt, whose --raw is of stacks, as crash's.
	for _, name := range []string{"raw-memory", "raw"} {
		f.Var(&a.raw, name, "the dump is plain memory without headers, from that physical address on")
		f.Lookup(name).NoOptDefVal = "0"
	}
	f.Lookup("raw").Hidden = true
	f.Var(&a.cache, "cache", "memory for unpacked pages of a compressed dump, such as 1G; without it 16M, and more while that pays")
}

// image opens a dump. It shows how far long work is.
func (a *app) image(ctx context.Context, files []string) (dump.Image, error) {
	var p *progress
	opts := []dump.Option{dump.WithContext(ctx), dump.WithProgress(func(now dump.Progress) {
		if p == nil || p.what != now.What {
			if p != nil {
				p.done()
			}
			p = a.progress(now.What)
		}
		p.updateBytes(now.Done, now.Total)
	})}
	if a.raw.set {
		opts = append(opts, dump.WithRawMemory(a.raw.start))
	}
	if a.cache > 0 {
		opts = append(opts, dump.WithCache(int64(a.cache)))
	}
	img, err := dump.Open(files, opts...)
	if p != nil {
		p.done()
	}
	if err != nil {
		return nil, unusable(a.aboutRaw(err))
	}
	return img, nil
}

// aboutRaw adds to the error of a dump that cannot be opened what --raw-memory has to
// do with it.
func (a *app) aboutRaw(err error) error {
	var fe *dump.FileError
	switch {
	case !errors.As(err, &fe):
	case errors.Is(err, dump.ErrFormat) && strings.Contains(err.Error(), "begins with"):
		return fmt.Errorf("%w; if it is plain memory without headers, give --raw-memory", err)
	case a.raw.set && errors.Is(err, fs.ErrNotExist):
		if _, e := strconv.ParseUint(fe.File, 0, 64); e == nil {
			return fmt.Errorf("%w; an address is given as --raw-memory=%s", err, fe.File)
		}
	}
	return err
}
