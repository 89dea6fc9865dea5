package unpack_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"

	"github.com/kmortem/mortem/dump/unpack"
)

// gzipped packs a text with gzip.
func gzipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	if e := w.Close(); err != nil || e != nil {
		panic(fmt.Sprint(err, e))
	}
	return b.Bytes()
}

func ExampleDetect() {
	fmt.Println(unpack.Detect(gzipped("a dump")))
	fmt.Printf("%q\n", unpack.Detect([]byte("KDUMP   is not packed")))
	// Output:
	// gzip
	// ""
}

// A dump that comes from another machine through a pipe can be mapped
// afterwards; it is unpacked on the way.
func ExampleSpool() {
	dir, err := os.MkdirTemp("", "mortem-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	pipe, w := io.Pipe()
	go func() {
		_, err := w.Write(gzipped("a dump"))
		_ = w.CloseWithError(err) // never fails
	}()
	r, err := unpack.Spool(context.Background(), pipe, unpack.Options{Dir: dir})
	if err != nil {
		panic(err)
	}
	defer r.Discard()
	data, err := os.ReadFile(r.Path)
	fmt.Printf("%s, %v, damage: %v\n", data, err, r.Damage)
	// Output: a dump, <nil>, damage: <nil>
}
