package remote

import (
	"errors"
	"fmt"
	"os"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/unpack"
)

// downloaded is a file that was fetched as a whole.
type downloaded struct {
	*os.File
	res             *unpack.Result
	moved, requests int64
}

// Moved implements dump.Meter.
func (d *downloaded) Moved() (bytes, requests int64) { return d.moved, d.requests }

// Close closes and removes the file.
func (d *downloaded) Close() error {
	d.res.Discard()
	return d.File.Close()
}

func openDownload(res *unpack.Result, name string, requests int64) (dump.Source, error) {
	if res.Damage != nil {
		res.Discard()
		return dump.Source{}, &dump.FileError{File: name, Offset: -1, What: fmt.Sprintf("it is packed and cannot be unpacked: %v", res.Damage), Err: res.Damage}
	}
	f, err := os.Open(res.Path)
	if err != nil {
		res.Discard()
		return dump.Source{}, err
	}
	st, err := f.Stat()
	if err != nil {
		res.Discard()
		return dump.Source{}, errors.Join(err, f.Close())
	}
	res.Discard() // on Unix; elsewhere when it is closed
	d := &downloaded{File: f, res: res, moved: st.Size(), requests: requests}
	return dump.Source{Name: name, Size: st.Size(), ReaderAt: d, Closer: d}, nil
}
