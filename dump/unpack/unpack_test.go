package unpack

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// contents are bytes with pages of zeros among them, also at the end.
func contents(size int) []byte {
	data := make([]byte, size)
	rng := rand.New(rand.NewSource(1))
	for at := 0; at+8192 < size; at += 3 * 4096 {
		rng.Read(data[at : at+4096+at%100])
	}
	return data
}

// pack packs by a Go library.
func pack(t testing.TB, kind string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch kind {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "zlib":
		w = zlib.NewWriter(&b)
	case "zstd":
		w, err = zstd.NewWriter(&b)
	case "xz":
		w, err = xz.NewWriter(&b)
	case "xz in blocks":
		w, err = xz.WriterConfig{BlockSize: int64(min(1<<20, len(data)/3+1))}.NewWriter(&b)
	}
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

func unpackBytes(t testing.TB, packed []byte, o Options) (*Result, []byte) {
	t.Helper()
	r, err := Unpack(t.Context(), bytes.NewReader(packed), int64(len(packed)), o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(r.Path)
	if err != nil {
		t.Fatal(err)
	}
	return r, got
}

func TestUnpack(t *testing.T) {
	data := contents(1<<20 + 123)
	for _, kind := range []string{"gzip", "zlib", "zstd", "xz", "xz in blocks"} {
		t.Run(kind, func(t *testing.T) {
			plain := data
			if kind == "zlib" {
				plain = append([]byte("EMiL"), data...)
			}
			packed := pack(t, kind, plain)
			if got := Detect(packed[:HeadSize]); got == "" || kind[:2] != got[:2] {
				t.Fatalf("detected as %q", got)
			}
			o := Options{Dir: t.TempDir()}
			r, got := unpackBytes(t, packed, o)
			if !bytes.Equal(got, plain) || r.Damage != nil {
				t.Fatalf("%d bytes of %d, %v", len(got), len(plain), r.Damage)
			}
			r.Discard() // does nothing to a kept file
			again, _ := unpackBytes(t, packed, o)
			if again.Path != r.Path {
				t.Errorf("unpacked to %s and to %s", r.Path, again.Path)
			}
			o.Temp = true
			temp, got := unpackBytes(t, packed, o)
			if temp.Path == r.Path || !bytes.Equal(got, plain) {
				t.Errorf("a copy that is not kept: %s", temp.Path)
			}
			if temp.Discard(); exists(temp.Path) || !exists(r.Path) {
				t.Error("the wrong file is gone")
			}
			spooled, err := Spool(t.Context(), bytes.NewReader(packed), o)
			if err != nil {
				t.Fatal(err)
			}
			defer spooled.Discard()
			if got, err := os.ReadFile(spooled.Path); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("spooled: %v", err)
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestTools unpacks what the packers' own programs have packed.
func TestTools(t *testing.T) {
	data := contents(1 << 20)
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tool := range [][]string{
		{"xz", "-kc0"}, {"xz", "-kc0", "--block-size=1MiB"}, {"xz", "-kc0", "--check=none", "--block-size=100KiB"},
		{"xz", "-kc0", "--x86", "--lzma2"}, {"gzip", "-kc"}, {"bzip2", "-kc"}, {"zstd", "-qc"},
	} {
		packed, err := exec.Command(tool[0], append(tool[1:], path)...).Output()
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, got := unpackBytes(t, packed, Options{Dir: t.TempDir()}); !bytes.Equal(got, data) {
			t.Errorf("%q: %d bytes of %d", tool, len(got), len(data))
		}
	}
}

// TestPlainSpool: what is not packed is spooled as it is, and holes are kept.
func TestPlainSpool(t *testing.T) {
	for _, data := range [][]byte{nil, {1}, make([]byte, 3<<20), contents(2<<20 + 1)} {
		r, err := Spool(t.Context(), bytes.NewReader(data), Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(r.Path)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %v", len(data), err)
		}
		if r.Discard(); exists(r.Path) {
			t.Error("the file stays")
		}
	}
	cause := errors.New("the line went dead")
	_, err := Spool(t.Context(), io.MultiReader(bytes.NewReader(contents(1<<20)), failing{cause}), Options{Dir: t.TempDir()})
	if !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// TestDamage: what comes before the damage is kept, and no more.
func TestDamage(t *testing.T) {
	data := contents(1 << 20)
	for _, kind := range []string{"gzip", "zstd", "xz", "xz in blocks"} {
		for _, c := range []struct {
			name   string
			damage func(p []byte) []byte
			atMost int
		}{
			{"cut", func(p []byte) []byte { return p[:len(p)*2/3] }, len(data) * 3 / 4},
			{"flipped", func(p []byte) []byte {
				p[len(p)*2/3] ^= 1
				return p
			}, len(data)},
		} {
			t.Run(kind+" "+c.name, func(t *testing.T) {
				dir := t.TempDir()
				packed := c.damage(pack(t, kind, data))
				r, got := unpackBytes(t, packed, Options{Dir: dir})
				defer r.Discard()
				if r.Damage == nil {
					t.Fatal("no damage found")
				}
				if len(got) < len(data)/4 || len(got) > c.atMost {
					t.Errorf("%d bytes of %d", len(got), len(data))
				}
				// A flipped bit may be noticed only by a checksum at the end.
				if n := min(len(got)*9/10, len(data)*6/10); !bytes.Equal(got[:n], data[:n]) {
					t.Error("other bytes before the damage")
				}
				if r.Discard(); len(files(filepath.Join(dir, "unpacked"))) > 0 {
					t.Error("a damaged copy is kept")
				}
			})
		}
	}
	if _, err := Unpack(t.Context(), bytes.NewReader([]byte("\x1f\x8b\x08\x00")), 4, Options{Dir: t.TempDir()}); err == nil {
		t.Error("a header alone unpacks")
	}
}

func TestLimit(t *testing.T) {
	packed := pack(t, "gzip", make([]byte, 20<<20))
	dir := t.TempDir()
	_, err := Unpack(t.Context(), bytes.NewReader(packed), int64(len(packed)), Options{Dir: dir, Limit: 10 << 20})
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if left := files(filepath.Join(dir, "unpacked")); len(left) > 0 {
		t.Errorf("%s is left behind", left[0].Name())
	}
}

func TestCancel(t *testing.T) {
	packed := pack(t, "xz in blocks", contents(2<<20))
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Dir: t.TempDir(), Progress: func(done, total int64) { cancel() }}
	for _, kind := range []string{"xz in blocks", "gzip"} {
		if kind == "gzip" {
			cancel()
		}
		_, err := Unpack(ctx, bytes.NewReader(packed), int64(len(packed)), o)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if left := files(filepath.Join(o.Dir, "unpacked")); len(left) > 0 {
		t.Errorf("%s is left behind", left[0].Name())
	}
}

// TestCancelSpool gives up on a pipe that nobody writes to.
func TestCancelSpool(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Spool(ctx, r, Options{Dir: t.TempDir()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestConcurrent: many who want the same file get one.
func TestConcurrent(t *testing.T) {
	packed := pack(t, "zstd", contents(2<<20))
	o := Options{Dir: t.TempDir()}
	var wg sync.WaitGroup
	paths := make([]string, 8)
	for i := range paths {
		wg.Go(func() {
			r, err := Unpack(context.Background(), bytes.NewReader(packed), int64(len(packed)), o)
			if err != nil {
				t.Error(err)
				return
			}
			paths[i] = r.Path
		})
	}
	wg.Wait()
	for _, path := range paths {
		if path != paths[0] {
			t.Errorf("%s and %s", path, paths[0])
		}
	}
	if left := files(filepath.Join(o.Dir, "unpacked")); len(left) != 1 {
		t.Errorf("%d files", len(left))
	}
}

// TestRemoval removes old files only, the oldest first.
func TestRemoval(t *testing.T) {
	cache := t.TempDir()
	dir := filepath.Join(cache, "unpacked")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{
		"new": 0, "old": 48 * time.Hour, "older": 72 * time.Hour, partial + "x": time.Hour, partial + "dead": 25 * time.Hour,
		"forgotten": 31 * 24 * time.Hour,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	removeStale(dir)
	for _, left := range []int{3, 2, 2} {
		removeOldest(cache)
		if got := files(dir); len(got) != left {
			t.Errorf("%d files are left, want %d", len(got), left)
		}
	}
	if !exists(filepath.Join(dir, "new")) || !exists(filepath.Join(dir, partial+"x")) {
		t.Error("the wrong files are gone")
	}
}

// TestHoles: pages of zeros take no room.
func TestHoles(t *testing.T) {
	data := make([]byte, 64<<20)
	copy(data[32<<20:], "something")
	_, got := unpackBytes(t, pack(t, "zstd", data), Options{Dir: t.TempDir()})
	if !bytes.Equal(got, data) {
		t.Fatal("other bytes")
	}
}

func BenchmarkUnpack(b *testing.B) {
	data := contents(32 << 20)
	for _, kind := range []string{"gzip", "zstd", "xz", "xz in blocks"} {
		packed := pack(b, kind, data)
		b.Run(kind, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				r, err := Unpack(b.Context(), bytes.NewReader(packed), int64(len(packed)), Options{Dir: b.TempDir(), Temp: true})
				if err != nil {
					b.Fatal(err)
				}
				r.Discard()
			}
		})
	}
}

func ExampleUnpack() {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte("the contents"))
	_ = w.Close()

	r, err := Unpack(context.Background(), bytes.NewReader(packed.Bytes()), int64(packed.Len()), Options{Temp: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Discard()
	data, err := os.ReadFile(r.Path)
	fmt.Printf("%s %v\n", data, err)
	// Output: the contents <nil>
}
