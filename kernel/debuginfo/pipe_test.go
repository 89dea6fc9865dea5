//go:build linux || darwin || freebsd

package debuginfo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kmortem/mortem/fixtures"
)

// TestPipe: --vmlinux <(cat vmlinux.xz) reads the pipe once, to its end.
func TestPipe(t *testing.T) {
	if testing.Short() {
		t.Skip("short run: a whole vmlinux is unpacked out of a pipe")
	}
	data, err := os.ReadFile(fixtures.Path(t, "vmlinux.xz"))
	if err != nil {
		t.Fatal(err)
	}
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
	cache := t.TempDir()
	src, err := Open(path, CacheDir(cache))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if len(src.BuildID()) == 0 {
		t.Error("no build id")
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "spool", "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestPipeWithoutWriter: who waits for a writer can be told to stop.
func TestPipeWithoutWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skipf("no named pipes on this system: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Open(path, WithContext(ctx), CacheDir(t.TempDir())); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}
