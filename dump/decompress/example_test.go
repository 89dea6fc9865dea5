package decompress_test

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/ulikunitz/xz"

	"github.com/kmortem/mortem/dump/decompress"
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

// xzBlocks packs a text with xz in blocks of so many bytes, as "xz -T" does.
func xzBlocks(text string, size int64) []byte {
	var b bytes.Buffer
	w, err := xz.WriterConfig{BlockSize: size}.NewWriter(&b)
	if err != nil {
		panic(err)
	}
	_, err = io.WriteString(w, text)
	if e := w.Close(); err != nil || e != nil {
		panic(fmt.Sprint(err, e))
	}
	return b.Bytes()
}

func ExampleDetect() {
	fmt.Println(decompress.Detect(gzipped("a vmlinux")))
	fmt.Println(decompress.Detect([]byte("\x7fELF, which is not packed")) == decompress.None)
	// Output:
	// gzip
	// true
}

// A stream that cannot be read at random, such as a part of a package.
func ExampleReader() {
	packed := gzipped("a vmlinux")
	r, err := decompress.Reader(bytes.NewReader(packed), decompress.Detect(packed))
	if err != nil {
		panic(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	fmt.Printf("%s, %v\n", text, err)
	// Output: a vmlinux, <nil>
}

// Of a file that xz packed with several threads, only the block is unpacked that
// is read.
func ExampleFile() {
	packed := xzBlocks("first block,second one,third block", 12)
	r, err := decompress.File(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		panic(err)
	}
	defer r.Close()
	if s, ok := r.(io.Seeker); ok {
		if _, err := s.Seek(23, io.SeekStart); err != nil {
			panic(err)
		}
	}
	text, err := io.ReadAll(r)
	fmt.Printf("%s, %v\n", text, err)
	// Output: third block, <nil>
}

func ExampleXZBlocks() {
	packed := xzBlocks("first block,second one,third block", 12)
	blocks, err := decompress.XZBlocks(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		panic(err)
	}
	for _, b := range blocks {
		r, err := decompress.Reader(b.File(), decompress.XZ)
		if err != nil {
			panic(err)
		}
		text, err := io.ReadAll(r)
		fmt.Printf("%d bytes from %d on: %s, %v\n", b.Size, b.Start, text, err)
		_ = r.Close() // it was read to its end
	}
	// Output:
	// 12 bytes from 0 on: first block,, <nil>
	// 12 bytes from 12 on: second one,t, <nil>
	// 10 bytes from 24 on: hird block, <nil>
}
