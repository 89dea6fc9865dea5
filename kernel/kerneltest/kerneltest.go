// Package kerneltest opens the fixtures' kernels for tests. What it opens stays
// open until the test process ends, so that many tests can share it.
package kerneltest

import (
	"strings"
	"sync"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/vfs"
)

// Main is the dump of the boot in which every situation was planted.
const Main = "main/vmcore.kdump"

// Vmlinux is the debug information of the guests' kernel.
const Vmlinux = "vmlinux.xz"

var (
	mu      sync.Mutex
	systems = map[string]*vfs.FS{}
)

// source is the debug information of the guests' kernel.
var source = sync.OnceValues(func() (debuginfo.Source, error) {
	path, err := fixtures.Find(Vmlinux)
	if err != nil {
		return nil, err
	}
	return debuginfo.Open(path)
})

// Info is the debug information of the guests' kernel.
func Info(t testing.TB) debuginfo.Source {
	t.Helper()
	info, err := source()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// Kernel opens the kernel in dump files.
func Kernel(t testing.TB, files ...string) *kernel.Kernel {
	t.Helper()
	image, err := dump.Open(files)
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, Info(t), kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// FS opens the file system of the kernel in dump files, once for each of them.
func FS(t testing.TB, files ...string) *vfs.FS {
	t.Helper()
	key := strings.Join(files, "\x00")
	mu.Lock()
	fs := systems[key]
	mu.Unlock()
	if fs != nil {
		return fs
	}
	fs, err := vfs.Open(Kernel(t, files...))
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	systems[key] = fs
	mu.Unlock()
	return fs
}

// MainFS is the file system of the kernel in the dump Main.
func MainFS(t testing.TB) *vfs.FS {
	t.Helper()
	return FS(t, fixtures.Path(t, Main))
}
