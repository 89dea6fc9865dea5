//go:build linux || darwin || freebsd

package dump_test

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// TestNamedPipe reads a dump from a pipe that has a name, as the shell makes one
// for <(...).
func TestNamedPipe(t *testing.T) {
	mem := wholeMachine(4096)
	data := build(t, dumpwriter.ELF, mem, testConfig(4096))
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skipf("no named pipes on this system: %v", err)
	}
	go func() {
		if w, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
			_, _ = w.Write(data)
			_ = w.Close()
		}
	}()
	img := mustOpen(t, []string{path}, dump.WithCacheDir(t.TempDir()))
	if f := img.Facts(); !slices.Contains(f.Variant, "from a pipe") || f.Files[0] != path {
		t.Errorf("files %q, variant %q", f.Files, f.Variant)
	}
	checkMemory(t, img, mem, 4096)
}
