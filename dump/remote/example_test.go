package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/dump/remote"
)

// stored is a dump in a store of one's own.
type stored struct{ data []byte }

func (s stored) Name() string    { return "archive://case-17/vmcore" }
func (s stored) Size() int64     { return int64(len(s.data)) }
func (s stored) Version() string { return "" } // not to be kept on disk
func (s stored) Close() error    { return nil }
func (s stored) Range(_ context.Context, off, n int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(s.data[off : off+n])), nil
}

// store puts a dump of 1000 pages there, each with its address in it.
func store() stored {
	var b dumpwriter.Buffer
	if err := dumpwriter.Kdump(&b, machine(1000), dumpwriter.Config{VMCoreInfo: info}); err != nil {
		panic(err)
	}
	return stored{b.Bytes()}
}

// A store of one's own gets URLs that dump.Open reads.
func ExampleRegister() {
	remote.Register("archive", func(context.Context, string) (remote.Object, error) { return store(), nil })
	img, err := dump.Open([]string{"archive://case-17/vmcore"})
	if err != nil {
		panic(err)
	}
	defer img.Close()
	fmt.Println(img.Facts().Format, img.Facts().Release())
	// Output: kdump-compressed 6.1.0-far
}

// Without a URL: the Reader is a Source for dump.OpenSources.
func ExampleNewReader() {
	r := remote.NewReader(context.Background(), store(), remote.Options{BlockSize: 16 << 10, ReadAhead: -1})
	img, err := dump.OpenSources([]dump.Source{r.Source()})
	if err != nil {
		panic(err)
	}
	defer img.Close() // which closes the Reader
	before, _ := r.Moved()
	if _, err := img.ReadPhys(make([]byte, 8), 500*4096); err != nil {
		panic(err)
	}
	after, _ := r.Moved()
	fmt.Println("bytes moved for one page:", after-before)
	// Output: bytes moved for one page: 16384
}

// A program that has the way to a store serves the dumps in it to others.
func ExampleHandler() {
	server := httptest.NewServer(remote.Handler(store()))
	defer server.Close()
	img, err := dump.Open([]string{server.URL})
	if err != nil {
		panic(err)
	}
	defer img.Close()
	fmt.Println(img.Facts().Format, img.Facts().Release())
	// Output: kdump-compressed 6.1.0-far
}

// Opening with options that dump.Open does not have.
func ExampleOpen() {
	server := httptest.NewServer(remote.Handler(store()))
	defer server.Close()
	src, err := remote.Open(context.Background(), server.URL+"/vmcore", remote.Options{Memory: 1 << 20, Disk: -1})
	if err != nil {
		panic(err)
	}
	img, err := dump.OpenSources([]dump.Source{src})
	if err != nil {
		panic(err)
	}
	defer img.Close()
	fmt.Println(img.Facts().Format, img.Facts().Release())
	// Output: kdump-compressed 6.1.0-far
}
