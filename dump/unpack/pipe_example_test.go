//go:build linux || darwin || freebsd

package unpack_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kmortem/mortem/dump/unpack"
)

// namedPipe makes a pipe in a folder of its own.
func namedPipe() (path string, remove func()) {
	dir, err := os.MkdirTemp("", "mortem-example-")
	if err != nil {
		panic(err)
	}
	path = filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		panic(err)
	}
	return path, func() { _ = os.RemoveAll(dir) }
}

func ExampleIsPipe() {
	path, remove := namedPipe()
	defer remove()
	fmt.Println(unpack.IsPipe(path), unpack.IsPipe(filepath.Dir(path)), unpack.IsPipe(path+"-that-is-not-there"))
	// Output: true false false
}

func ExampleOpenPipe() {
	path, remove := namedPipe()
	defer remove()
	go func() { _ = os.WriteFile(path, []byte("a dump"), 0) }()
	f, err := unpack.OpenPipe(context.Background(), path)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	fmt.Printf("%s, %v\n", data, err)
	// Output: a dump, <nil>
}

// A pipe into which nobody writes is given up when the context is done.
func ExampleOpenPipe_nobody() {
	path, remove := namedPipe()
	defer remove()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := unpack.OpenPipe(ctx, path)
	fmt.Println(errors.Is(err, context.Canceled))
	// Output: true
}
