package debuginfo_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"

	"github.com/kmortem/mortem/kernel/debuginfo"
)

// packedProgram is a program packed by gzip, and as many bytes behind it, in a folder
// of its own.
func packedProgram(more int) (path string, remove func()) {
	data, err := os.ReadFile("testdata/built/gcc-dwarf5.elf")
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "mortem-example-")
	if err != nil {
		log.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "vmlinux.gz"))
	if err != nil {
		log.Fatal(err)
	}
	w, err := gzip.NewWriterLevel(f, gzip.NoCompression)
	if err != nil {
		log.Fatal(err)
	}
	_, err = w.Write(append(data, make([]byte, more)...))
	if err := errors.Join(err, w.Close(), f.Close()); err != nil {
		log.Fatal(err)
	}
	return f.Name(), func() { _ = os.RemoveAll(dir) }
}

// What was unpacked stays for the next time where the program says.
func ExampleCacheDir() {
	path, remove := packedProgram(0)
	defer remove()
	dir := filepath.Dir(path)
	src, err := debuginfo.Open(path, debuginfo.CacheDir(dir))
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	kept, err := filepath.Glob(filepath.Join(dir, "unpacked", "*"))
	fmt.Println(len(kept) > 0, err)
	// Output: true <nil>
}

func ExampleProgress() {
	path, remove := packedProgram(9 << 20)
	defer remove()
	src, err := debuginfo.Open(path, debuginfo.NoCache(), debuginfo.Progress(func(what string, done, total int64) {
		fmt.Println(filepath.Base(what), done>>20, "of", total>>20, "MiB")
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	// Output: vmlinux.gz 8 of 9 MiB
}

func ExampleWithContext() {
	path, remove := packedProgram(0)
	defer remove()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := debuginfo.Open(path, debuginfo.NoCache(), debuginfo.WithContext(ctx))
	fmt.Println(errors.Is(err, context.Canceled))
	// Output: true
}

// Symbols of arm64's assembly that say where code and data begin.
func ExampleIsMapping() {
	for _, name := range []string{"$x", "$d.3", ".L5", "schedule"} {
		fmt.Println(name, debuginfo.IsMapping(name))
	}
	// Output:
	// $x true
	// $d.3 true
	// .L5 true
	// schedule false
}
