package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kmortem/mortem/dump"
)

// memoryObject is an object whose bytes are in memory.
type memoryObject struct {
	data    []byte
	version string
	err     error
}

func (m *memoryObject) Name() string    { return "s3://bucket/vmcore" }
func (m *memoryObject) Size() int64     { return int64(len(m.data)) }
func (m *memoryObject) Version() string { return m.version }
func (m *memoryObject) Close() error    { return nil }
func (m *memoryObject) Range(_ context.Context, off, n int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m.data[off : off+n])), m.err
}

// fakeHelper is what this test program does under the name of the helper.
func fakeHelper(address string) {
	switch {
	case strings.Contains(address, "silent"):
		return
	case strings.Contains(address, "elsewhere"):
		fmt.Println(`{"url": "http://example.com/"}`)
	case strings.Contains(address, "denied"):
		fmt.Println(`{"error": "access is denied"}`)
	default:
		obj := &memoryObject{data: random(3 << 20), version: "one"}
		line, _ := json.Marshal(Serving{URL: httptest.NewServer(Handler(obj)).URL, Name: obj.Name()})
		fmt.Printf("%s\n", line)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// TestHelper opens an object through a helper process.
func TestHelper(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := dump.Open([]string{"s3://bucket/vmcore?sig=secret"}); err == nil || !strings.Contains(err.Error(), HelperName) || strings.Contains(err.Error(), "secret") {
		t.Errorf("without a helper: %v", err)
	}
	dir := t.TempDir()
	if err := os.Symlink(own, filepath.Join(dir, HelperName)); err != nil {
		t.Skipf("no symbolic links on this system: %v", err)
	}
	t.Setenv("PATH", dir)
	src, err := openByHelper(t.Context(), "s3://bucket/vmcore", Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	data := random(3 << 20)
	wantBytes(t, src.ReaderAt, data, 1000, 2<<20)
	if src.Name != "s3://bucket/vmcore" || src.Size != int64(len(data)) {
		t.Errorf("%q of %d bytes", src.Name, src.Size)
	}
	start := time.Now()
	if err := src.Closer.Close(); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("closing takes %v: %v", time.Since(start), err)
	}
	for address, want := range map[string]string{
		"gs://denied/x": "access is denied", "azblob://silent/x": "nothing of use", "s3://elsewhere/x": "example.com",
	} {
		if _, err := dump.Open([]string{address}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestHandler: what a Reader asks is what it gets, and errors keep their kind.
func TestHandler(t *testing.T) {
	obj := &memoryObject{data: random(1 << 20)}
	s := httptest.NewServer(Handler(obj))
	defer s.Close()
	src, err := Open(t.Context(), s.URL, Options{Disk: -1, ReadAhead: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Closer.Close()
	wantBytes(t, src.ReaderAt, obj.data, 300<<10, 100)
	obj.err = ErrChanged
	if _, err := src.ReaderAt.ReadAt(make([]byte, 1), 600<<10); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
	obj.err = &PermanentError{errors.New("no")}
	if _, err := src.ReaderAt.ReadAt(make([]byte, 1), 600<<10); err == nil || strings.Contains(err.Error(), "attempts") {
		t.Errorf("got %v", err)
	}
	obj.err = errors.New("again")
	if _, err := src.ReaderAt.ReadAt(make([]byte, 1), 600<<10); err == nil || !strings.Contains(err.Error(), "attempts") {
		t.Errorf("got %v", err)
	}
	for text, ok := range map[string]bool{"": false, "bytes=0-9": true, "bytes=9-0": false, "bytes=-5": false, "bytes=5-": false, "bytes=1048576-1048577": false, "bytes=1048575-99999999": true} {
		if _, _, got := askedRange(text, 1<<20); got != ok {
			t.Errorf("%q: %v", text, got)
		}
	}
}
