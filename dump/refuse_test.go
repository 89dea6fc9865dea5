package dump_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// gzipped packs data; xzBlocks packs it in blocks that are unpacked in parallel.
func gzipped(t *testing.T, data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func xzBlocks(t *testing.T, data []byte) []byte {
	var b bytes.Buffer
	w, err := xz.WriterConfig{BlockSize: 64 << 10}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPackedNoDump: a packed file that is no dump is refused by its beginning,
// before the rest is unpacked.
func TestPackedNoDump(t *testing.T) {
	elf := make([]byte, 300<<10)
	copy(elf, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(elf[16:], 2)
	for _, test := range []struct {
		name string
		data []byte
		says string
	}{
		{"vmlinux", elf, "vmlinux"},
		{"text", bytes.Repeat([]byte("[    0.000000] Linux version 6.1.0\n"), 9000), "text file"},
		{"lkcd", append([]byte("\xed\x23\x8f\x61\x73\x01\x19\xa8"), elf...), "LKCD"},
	} {
		for how, pack := range map[string]func(*testing.T, []byte) []byte{"gzip": gzipped, "xz": xzBlocks} {
			t.Run(test.name+"/"+how, func(t *testing.T) {
				cache := t.TempDir()
				path := file(t, pack(t, test.data))
				_, err := dump.Open([]string{path}, dump.WithCacheDir(cache))
				var fe *dump.FileError
				if !errors.As(err, &fe) || fe.File != path || !strings.Contains(err.Error(), test.says) {
					t.Errorf("error %v", err)
				}
				if left, _ := filepath.Glob(filepath.Join(cache, "*", "*")); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
			})
		}
	}
}

// TestPackedRaw: what is said to be plain memory is unpacked whatever it begins
// with.
func TestPackedRaw(t *testing.T) {
	data := bytes.Repeat([]byte("it looks like a text\n"), 1000)
	img := mustOpen(t, []string{file(t, gzipped(t, data))}, dump.WithCacheDir(t.TempDir()), dump.WithRawMemory(0))
	buf := make([]byte, 20)
	if _, err := img.ReadPhys(buf, 42); err != nil || string(buf) != "it looks like a text" {
		t.Errorf("%q, %v", buf, err)
	}
}

// TestFlattenedPipe: flattened dumps are made to go through pipes. Whole, cut
// short, and packed on the way.
func TestFlattenedPipe(t *testing.T) {
	mem := testMachine(4096)
	pages := len(presentPages(mem))
	cfg := testConfig(4096)
	cfg.Codec = dumpwriter.All(dumpwriter.Zlib)
	whole := flattened(t, dumpwriter.Kdump, mem, cfg)
	for _, test := range []struct {
		name string
		data []byte
		cut  bool
	}{
		{"whole", whole, false},
		{"packed", gzipped(t, whole), false},
		{"cut", headersFirst(t, whole)[:len(whole)*3/4], true},
	} {
		t.Run(test.name, func(t *testing.T) {
			img, err := openPiped(t, test.data)
			if err != nil {
				t.Fatal(err)
			}
			defer img.Close()
			f := img.Facts()
			if v := strings.Join(f.Variant, ", "); !strings.Contains(v, "from a pipe") || !strings.Contains(v, "flattened") || f.Incomplete != test.cut {
				t.Errorf("%s, incomplete %v", v, f.Incomplete)
			}
			o := readPages(t, img, mem, 4096)
			if o.wrong > 0 || o.corrupt > 0 || o.good+o.missing != pages || test.cut == (o.missing == 0) || o.good < pages/10 {
				t.Errorf("%+v of %d", o, pages)
			}
		})
	}
}

// headersFirst moves the records of a flattened file that have the headers to the
// front, where makedumpfile has them.
func headersFirst(t *testing.T, flat []byte) []byte {
	t.Helper()
	out := bytes.Clone(flat[:4096])
	var rest []byte
	for at := 4096; ; {
		dest := int64(binary.BigEndian.Uint64(flat[at:]))
		if dest < 0 {
			return append(append(out, rest...), flat[at:]...)
		}
		size := int(binary.BigEndian.Uint64(flat[at+8:]))
		record := flat[at : at+16+size]
		if dest < 16<<10 {
			out = append(out, record...)
		} else {
			rest = append(rest, record...)
		}
		at += len(record)
	}
}

// openPiped opens what is written into standard input.
func openPiped(t *testing.T, data []byte) (dump.Image, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = stdin }()
	go func() {
		_, _ = w.Write(data)
		_ = w.Close()
	}()
	return dump.Open([]string{"-"}, dump.WithCacheDir(t.TempDir()))
}
