package dump_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/dump/unpack"
)

var packers = map[string]func(io.Writer) (io.WriteCloser, error){
	"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
	"xz":   func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
	"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
}

func pack(t *testing.T, kind string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := packers[kind](&b)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPacked opens packed dumps of several formats.
func TestPacked(t *testing.T) {
	mem := wholeMachine(4096)
	cfg := testConfig(4096)
	formats := map[string][]byte{
		"kdump":     build(t, dumpwriter.Kdump, mem, cfg),
		"flattened": flattened(t, dumpwriter.Kdump, mem, cfg),
		"ELF":       build(t, dumpwriter.ELF, mem, cfg),
		"LiME":      build(t, dumpwriter.LiME, mem, cfg),
	}
	for kind := range packers {
		for format, data := range formats {
			t.Run(kind+" "+format, func(t *testing.T) {
				cache := dump.WithCacheDir(t.TempDir())
				path := file(t, pack(t, kind, data))
				told := 0
				tell := dump.WithProgress(func(dump.Progress) { told++ })
				for _, opts := range [][]dump.Option{{cache, tell}, {cache, dump.WithoutMapping()}} {
					img := mustOpen(t, []string{path}, opts...)
					f := img.Facts()
					if want := "packed with " + kind; !slices.Contains(f.Variant, want) || f.Files[0] != path || f.Incomplete {
						t.Errorf("files %q, variant %q, incomplete %v", f.Files, f.Variant, f.Incomplete)
					}
					if slices.Contains(f.Variant, "flattened") != (format == "flattened") {
						t.Errorf("variant %q", f.Variant)
					}
					checkMemory(t, img, mem, 4096)
				}
			})
		}
	}
	twice := file(t, pack(t, "xz", pack(t, "gzip", formats["kdump"])))
	img := mustOpen(t, []string{twice}, dump.WithCacheDir(t.TempDir()))
	if f := img.Facts(); !slices.Contains(f.Variant, "packed with xz, packed with gzip") {
		t.Errorf("packed twice: %q", f.Variant)
	}
}

// TestPackedDamage reads what is there of a packed dump.
func TestPackedDamage(t *testing.T) {
	mem := wholeMachine(4096)
	packed := pack(t, "gzip", build(t, dumpwriter.ELF, mem, testConfig(4096)))
	dir := t.TempDir()
	img := mustOpen(t, []string{file(t, packed[:len(packed)*3/4])}, dump.WithCacheDir(dir))
	f := img.Facts()
	if !f.Incomplete || !strings.Contains(strings.Join(f.Warnings, "; "), "packed with gzip") {
		t.Errorf("incomplete %v, warnings %q", f.Incomplete, f.Warnings)
	}
	if o := readPages(t, img, mem, 4096); o.good < 200 || o.missing < 50 || o.wrong+o.corrupt > 0 {
		t.Errorf("%+v", o)
	}
	_, err := dump.Open([]string{file(t, packed[:10])}, dump.WithCacheDir(dir))
	if err == nil || !strings.Contains(err.Error(), "packed with gzip") {
		t.Errorf("a header alone: %v", err)
	}
	_, err = dump.Open([]string{file(t, pack(t, "gzip", []byte("a letter")))}, dump.WithCacheDir(dir))
	if !errors.Is(err, dump.ErrFormat) || !strings.Contains(err.Error(), "text file") {
		t.Errorf("packed text: %v", err)
	}
	_, err = dump.Open([]string{file(t, packed)}, dump.WithCacheDir(filepath.Join(file(t, []byte("x")), "cache")))
	if err == nil {
		t.Error("unpacked into a file's place")
	}
}

// TestStandardInput reads dumps from a pipe and from a file there.
func TestStandardInput(t *testing.T) {
	mem := wholeMachine(4096)
	cfg := testConfig(4096)
	kdump := build(t, dumpwriter.Kdump, mem, cfg)
	for name, data := range map[string][]byte{
		"kdump":     kdump,
		"flattened": flattened(t, dumpwriter.Kdump, mem, cfg),
		"ELF":       build(t, dumpwriter.ELF, mem, cfg),
		"packed":    pack(t, "zstd", kdump),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			img := mustOpenStdin(t, pipe(t, data), dump.WithCacheDir(dir))
			if f := img.Facts(); !slices.Contains(f.Variant, "from a pipe") || f.Files[0] != "standard input" {
				t.Errorf("files %q, variant %q", f.Files, f.Variant)
			}
			checkMemory(t, img, mem, 4096)
			if left, err := os.ReadDir(filepath.Join(dir, "spool")); err != nil || len(left) > 0 {
				t.Errorf("%d files are left, %v", len(left), err)
			}
		})
	}
	in, err := os.Open(file(t, kdump))
	if err != nil {
		t.Fatal(err)
	}
	img := mustOpenStdin(t, in)
	if f := img.Facts(); len(f.Variant) > 0 {
		t.Errorf("variant %q", f.Variant)
	}
	checkMemory(t, img, mem, 4096)
}

// pipe returns the end of a pipe from which the bytes come.
func pipe(t *testing.T, data []byte) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = w.Write(data)
		_ = w.Close()
	}()
	return r
}

func mustOpenStdin(t *testing.T, in *os.File, opts ...dump.Option) dump.Image {
	t.Helper()
	old := os.Stdin
	os.Stdin = in
	defer func() { os.Stdin = old }()
	return mustOpen(t, []string{"-"}, opts...)
}

// TestUnpackedOnce: the second opening does not unpack.
func TestUnpackedOnce(t *testing.T) {
	dir := t.TempDir()
	path := file(t, pack(t, "gzip", build(t, dumpwriter.ELF, wholeMachine(4096), testConfig(4096))))
	mustOpen(t, []string{path}, dump.WithCacheDir(dir))
	kept := filepath.Join(dir, "unpacked")
	entries, err := os.ReadDir(kept)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	// Another content in the copy shows where the second opening reads.
	name := filepath.Join(kept, entries[0].Name())
	if err := os.WriteFile(name, []byte("no dump any more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dump.Open([]string{path}, dump.WithCacheDir(dir)); err == nil {
		t.Error("it was unpacked again")
	}
	if unpack.Detect([]byte("no dump any more")) != "" {
		t.Error("text is packed")
	}
}

func TestNoOpener(t *testing.T) {
	for url, want := range map[string]string{
		"s3://bucket/vmcore?sig=secret":      "s3://",
		"ftp://ann:secret@host/vmcore":       "ftp://host/vmcore",
		"ftp://host":                         "ftp://host/",
		"gs://bucket/dumps/vmcore?x=1&y=%zz": "gs://bucket/dumps/vmcore:",
	} {
		_, err := dump.Open([]string{url})
		if !errors.Is(err, dump.ErrUnsupported) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
