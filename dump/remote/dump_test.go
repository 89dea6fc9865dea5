package remote_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
	_ "github.com/kmortem/mortem/dump/remote"
)

// machine is a machine of as many pages, each with its number in it.
type machine uint64

func (m machine) Pages() uint64                 { return uint64(m) }
func (m machine) State(uint64) dumpwriter.State { return dumpwriter.Present }
func (m machine) Read(pfn uint64, page []byte) error {
	fillPage(pfn, page)
	return nil
}

func fillPage(pfn uint64, page []byte) {
	for i := 0; i+8 <= len(page); i += 8 {
		binary.LittleEndian.PutUint64(page[i:], pfn<<12|uint64(i))
	}
}

const info = "OSRELEASE=6.1.0-far\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff82c15c40\nNUMBER(phys_base)=0\n"

// hugeELF is an ELF dump of a machine of that size, made while it is read.
type hugeELF struct {
	head      []byte
	at, bytes int64
}

// newHugeELF takes the headers of a small machine's dump and makes the one
// segment longer.
func newHugeELF(t *testing.T, memory int64) *hugeELF {
	t.Helper()
	var b dumpwriter.Buffer
	if err := dumpwriter.ELF(&b, machine(1), dumpwriter.Config{VMCoreInfo: info}); err != nil {
		t.Fatal(err)
	}
	head := b.Bytes()[:len(b.Bytes())-4096]
	const load = 64 + 56 // the second program header
	binary.LittleEndian.PutUint64(head[load+32:], uint64(memory))
	binary.LittleEndian.PutUint64(head[load+40:], uint64(memory))
	return &hugeELF{head: head, bytes: int64(len(head)) + memory}
}

func (h *hugeELF) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		h.at = off
	case io.SeekCurrent:
		h.at += off
	case io.SeekEnd:
		h.at = h.bytes + off
	}
	return h.at, nil
}

func (h *hugeELF) Read(p []byte) (int, error) {
	if h.at >= h.bytes {
		return 0, io.EOF
	}
	n := 0
	if h.at < int64(len(h.head)) {
		n = copy(p, h.head[h.at:])
	} else {
		var page [4096]byte
		in := h.at - int64(len(h.head))
		fillPage(uint64(in)/4096, page[:])
		n = copy(p, page[in%4096:])
	}
	h.at += int64(n)
	return n, nil
}

// serve serves a file and returns its URL.
func serve(t *testing.T, name string, content func() io.ReadSeeker) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, name, time.Time{}, content())
	}))
	t.Cleanup(s.Close)
	return s.URL + "/" + name
}

func mustOpen(t *testing.T, url string, opts ...dump.Option) dump.Image {
	t.Helper()
	img, err := dump.Open([]string{url}, append([]dump.Option{dump.WithCacheDir(t.TempDir()), dump.WithContext(t.Context())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = img.Close() })
	return img
}

// TestHundredGigabytes opens a dump of 100 GB, reads scattered pages and a
// stretch, and looks at how much that has moved.
func TestHundredGigabytes(t *testing.T) {
	const size = 100 << 30
	huge := newHugeELF(t, size)
	img := mustOpen(t, serve(t, "vmcore", func() io.ReadSeeker {
		h := *huge
		return &h
	}))
	if got := img.Facts().Release(); got != "6.1.0-far" {
		t.Errorf("release %q", got)
	}
	moved, requests, ok := dump.Moved(img)
	if !ok || moved > 1<<20 || requests > 3 {
		t.Errorf("opening moved %d bytes in %d requests", moved, requests)
	}
	page, want := make([]byte, 4096), make([]byte, 4096)
	check := func(pfn uint64) {
		fillPage(pfn, want)
		if _, err := img.ReadPhys(page, pfn*4096); err != nil || !bytes.Equal(page, want) {
			t.Fatalf("page %d: %v", pfn, err)
		}
	}
	for range 100 {
		check(rand.Uint64N(size / 4096))
	}
	for pfn := range uint64(4 << 20 / 4096) {
		check(50<<30/4096 + pfn)
	}
	moved, requests, _ = dump.Moved(img)
	t.Logf("100 pages and 4 MiB of 100 GB: %d KiB in %d requests", moved>>10, requests)
	if moved > 48<<20 || requests > 130 {
		t.Errorf("moved %d bytes in %d requests", moved, requests)
	}
}

// TestFormats reads dumps of several formats from a server.
func TestFormats(t *testing.T) {
	const pages = 3000
	cfg := dumpwriter.Config{VMCoreInfo: info, Codec: dumpwriter.Mix(dumpwriter.Zlib, dumpwriter.Raw, dumpwriter.Zstd)}
	for name, write := range map[string]func(io.WriterAt, dumpwriter.Memory, dumpwriter.Config) error{
		"kdump": dumpwriter.Kdump, "ELF": dumpwriter.ELF, "LiME": dumpwriter.LiME, "AVML": dumpwriter.AVML,
	} {
		for _, packed := range []bool{false, true} {
			t.Run(fmt.Sprint(name, packed), func(t *testing.T) {
				var b dumpwriter.Buffer
				if err := write(&b, machine(pages), cfg); err != nil {
					t.Fatal(err)
				}
				data := b.Bytes()
				if packed {
					w, err := zstd.NewWriter(nil)
					if err != nil {
						t.Fatal(err)
					}
					data = w.EncodeAll(data, nil)
				}
				img := mustOpen(t, serve(t, "vmcore", func() io.ReadSeeker { return bytes.NewReader(data) }))
				if slices.Contains(img.Facts().Variant, "packed with zstd") != packed {
					t.Errorf("variant %q", img.Facts().Variant)
				}
				n := 0
				want := make([]byte, 4096)
				err := img.Sweep(t.Context(), 1, func(_ int, p dump.Page) error {
					fillPage(p.Addr/4096, want)
					if p.Err != nil || !bytes.Equal(p.Data, want) {
						return fmt.Errorf("page %#x: %v", p.Addr, p.Err)
					}
					n++
					return nil
				})
				if err != nil || n != pages {
					t.Errorf("%d pages, %v", n, err)
				}
				if moved, _, ok := dump.Moved(img); !ok || moved != int64(len(data)) {
					t.Errorf("moved %d of %d bytes, %v", moved, len(data), ok)
				}
			})
		}
	}
}

// TestVMware names the two files of a machine by their URLs.
func TestVMware(t *testing.T) {
	var state, vmem dumpwriter.Buffer
	if err := dumpwriter.VMware(&state, &vmem, machine(100), nil, false, dumpwriter.Config{}); err != nil {
		t.Fatal(err)
	}
	paths := []string{
		serve(t, "machine.vmem", func() io.ReadSeeker { return bytes.NewReader(vmem.Bytes()) }),
		serve(t, "machine.vmss", func() io.ReadSeeker { return bytes.NewReader(state.Bytes()) }),
	}
	img, err := dump.Open(paths, dump.WithCacheDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	if f := img.Facts(); f.Format != dump.FormatVMware || f.MaxPhys != 100*4096 {
		t.Errorf("%q, memory to %#x", f.Format, f.MaxPhys)
	}
}

// TestChanged: a page that the server no longer has as it was is missing.
func TestChanged(t *testing.T) {
	huge := newHugeELF(t, 1<<30)
	tag := `"1"`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		h := *huge
		http.ServeContent(w, r, "", time.Time{}, &h)
	}))
	defer s.Close()
	img := mustOpen(t, s.URL)
	tag = `"2"`
	_, err := img.ReadPhys(make([]byte, 10), 1<<29)
	if !errors.Is(err, dump.ErrMissing) || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("got %v", err)
	}
}

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	var b dumpwriter.Buffer
	if err := dumpwriter.Kdump(&b, machine(1000), dumpwriter.Config{VMCoreInfo: info}); err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b.Bytes()))
	}))
	defer server.Close()

	img, err := dump.Open([]string{server.URL + "/vmcore"}, dump.WithCacheDir(dir))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer img.Close()
	moved, _, _ := dump.Moved(img)
	fmt.Printf("%s of release %s; less than a fifth was moved: %v\n", img.Facts().Format, img.Facts().Release(), moved < int64(len(b.Bytes()))/5)
	// Output: kdump-compressed of release 6.1.0-far; less than a fifth was moved: true
}
