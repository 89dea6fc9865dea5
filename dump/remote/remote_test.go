package remote

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kmortem/mortem/dump"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == HelperName {
		fakeHelper(os.Args[1])
		return
	}
	firstPause = time.Millisecond
	os.Exit(m.Run())
}

// server serves one file, and does what the test says before each answer.
type server struct {
	*httptest.Server
	content  io.ReadSeeker
	mu       sync.Mutex // of content
	etag     atomic.Value
	requests atomic.Int64
	before   func(n int64, w http.ResponseWriter, r *http.Request) (done bool)
}

func serve(t *testing.T, content io.ReadSeeker) *server {
	t.Helper()
	s := &server{content: content}
	s.etag.Store(`"one"`)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := s.requests.Add(1)
		if s.before != nil && s.before(n, w, r) {
			return
		}
		w.Header().Set("ETag", s.etag.Load().(string))
		w.Header().Set("Content-Type", "application/octet-stream")
		s.mu.Lock()
		defer s.mu.Unlock()
		http.ServeContent(w, r, "", time.Time{}, s.content)
	}))
	t.Cleanup(s.Close)
	return s
}

func random(size int) []byte {
	data := make([]byte, size)
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i+8 <= size; i += 8 {
		binary.LittleEndian.PutUint64(data[i:], r.Uint64())
	}
	return data
}

// open opens the server's file, in a cache directory of the test.
func open(t *testing.T, s *server, opt Options) *Reader {
	t.Helper()
	if opt.CacheDir == "" {
		opt.CacheDir = t.TempDir()
	}
	src, err := Open(t.Context(), s.URL+"/vmcore", opt)
	if err != nil {
		t.Fatal(err)
	}
	r, ok := src.ReaderAt.(*Reader)
	if !ok {
		t.Fatalf("the source reads by %T", src.ReaderAt)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// wantBytes reads a range and compares it.
func wantBytes(t *testing.T, r io.ReaderAt, data []byte, off, n int) {
	t.Helper()
	got := make([]byte, n)
	if _, err := r.ReadAt(got, int64(off)); err != nil {
		t.Fatalf("%d bytes at %d: %v", n, off, err)
	}
	if !bytes.Equal(got, data[off:off+n]) {
		t.Fatalf("%d bytes at %d differ", n, off)
	}
}

func TestReadAt(t *testing.T) {
	data := random(5<<20 + 777)
	s := serve(t, bytes.NewReader(data))
	for _, disk := range []int64{0, -1} {
		r := open(t, s, Options{Disk: disk, Memory: 1 << 20})
		for range 200 {
			n := rand.IntN(600 << 10)
			wantBytes(t, r, data, rand.IntN(len(data)-n), n)
		}
		wantBytes(t, r, data, len(data)-1, 1)
		if n, err := r.ReadAt(make([]byte, 10), int64(len(data)-3)); n != 3 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		if n, err := r.ReadAt(make([]byte, 10), int64(len(data))); n != 0 || err != io.EOF {
			t.Errorf("behind the end: %d, %v", n, err)
		}
		if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("before the beginning: no error")
		}
	}
}

// TestKept: what was read once is not read again, in the next run neither.
func TestKept(t *testing.T) {
	data := random(4 << 20)
	s := serve(t, bytes.NewReader(data))
	dir := t.TempDir()
	first := open(t, s, Options{CacheDir: dir})
	wantBytes(t, first, data, 0, len(data))
	if moved, requests := first.Moved(); moved != int64(len(data)) || requests != s.requests.Load() {
		t.Errorf("moved %d bytes in %d requests; the server saw %d", moved, requests, s.requests.Load())
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(t, s, Options{CacheDir: dir})
	wantBytes(t, second, data, 0, len(data))
	if moved, requests := second.Moved(); moved > 256<<10 || requests > 1 {
		t.Errorf("the second run moved %d bytes in %d requests", moved, requests)
	}
	// Another version is another file.
	s.etag.Store(`"two"`)
	third := open(t, s, Options{CacheDir: dir})
	wantBytes(t, third, data, 0, len(data))
	if moved, _ := third.Moved(); moved != int64(len(data)) {
		t.Errorf("of the new version %d bytes moved", moved)
	}
}

// TestDamagedDisk: blocks that were damaged on disk are fetched again.
func TestDamagedDisk(t *testing.T) {
	data := random(4 << 20)
	s := serve(t, bytes.NewReader(data))
	dir := t.TempDir()
	r := open(t, s, Options{CacheDir: dir})
	wantBytes(t, r, data, 0, len(data))
	_ = r.Close()
	files := blockFiles(filepath.Join(dir, "remote"))
	if len(files) != 1 {
		t.Fatalf("%d files", len(files))
	}
	path := filepath.Join(dir, "remote", files[0].Name())
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"a block":      func(b []byte) []byte { b[len(b)-1000]++; return b },
		"the index":    func(b []byte) []byte { clear(b[4096:4200]); return b },
		"the head":     func(b []byte) []byte { b[3]++; return b },
		"cut short":    func(b []byte) []byte { return b[:len(b)/2] },
		"cut in index": func(b []byte) []byte { return b[:4100] },
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, damage(bytes.Clone(kept)), 0o600); err != nil {
				t.Fatal(err)
			}
			wantBytes(t, open(t, s, Options{CacheDir: dir}), data, 0, len(data))
		})
	}
}

// TestBounded: the blocks on disk of all files stay below the bound.
func TestBounded(t *testing.T) {
	data := random(4 << 20)
	dir := t.TempDir()
	const limit = 6 << 20
	for i := range 3 {
		s := serve(t, bytes.NewReader(data))
		s.etag.Store(`"` + strings.Repeat("x", i+1) + `"`)
		r := open(t, s, Options{CacheDir: dir, Disk: limit})
		wantBytes(t, r, data, 0, len(data))
		_ = r.Close()
		used, others := usage(filepath.Join(dir, "remote"), "")
		if used+others > limit+(1<<20) {
			t.Errorf("%d bytes on disk", used+others)
		}
	}
	s := serve(t, bytes.NewReader(data))
	r := open(t, s, Options{CacheDir: t.TempDir(), Disk: 1 << 20, Memory: 1 << 20})
	wantBytes(t, r, data, 0, len(data))
	wantBytes(t, r, data, 0, len(data))
	if moved, _ := r.Moved(); moved < 7<<20 {
		t.Errorf("%d bytes moved: more is kept than allowed", moved)
	}
}

// TestReadAhead: who reads on and on makes few requests, who jumps moves little.
func TestReadAhead(t *testing.T) {
	data := random(32 << 20)
	s := serve(t, bytes.NewReader(data))
	r := open(t, s, Options{})
	for off := 0; off < len(data); off += 64 << 10 {
		wantBytes(t, r, data, off, 64<<10)
	}
	if moved, requests := r.Moved(); moved != int64(len(data)) || requests > 20 {
		t.Errorf("in a row: %d bytes in %d requests for %d blocks", moved, requests, 128)
	}
	r = open(t, s, Options{})
	for i := range 20 {
		wantBytes(t, r, data, (i*7919*4096)%(len(data)-4096), 4096)
	}
	if moved, requests := r.Moved(); moved > 21*256<<10 || requests > 21 {
		t.Errorf("jumping: %d bytes in %d requests", moved, requests)
	}
	r = open(t, s, Options{})
	r.WillNeed(8<<20, 4<<20)
	for off := 8 << 20; off < 12<<20; off += 512 << 10 {
		wantBytes(t, r, data, off, 4096) // every other block: no run
	}
	if _, requests := r.Moved(); requests != 2 {
		t.Errorf("announced: %d requests", requests)
	}
	for _, bad := range [][2]int64{{-1, 5}, {0, -5}, {1 << 40, 5}, {0, 1 << 60}} {
		r.WillNeed(bad[0], bad[1])
	}
}

// TestConcurrent: a block that many want is fetched once.
func TestConcurrent(t *testing.T) {
	data := random(8 << 20)
	s := serve(t, bytes.NewReader(data))
	r := open(t, s, Options{ReadAhead: -1})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, i := range rand.Perm(32) {
				got := make([]byte, 256<<10)
				if _, err := r.ReadAt(got, int64(i)<<18); err != nil || !bytes.Equal(got, data[i<<18:(i+1)<<18]) {
					t.Errorf("block %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	if moved, requests := r.Moved(); moved != int64(len(data)) || requests != 32 {
		t.Errorf("%d bytes in %d requests", moved, requests)
	}
}

// TestFlaky: a server that fails now and then is asked again.
func TestFlaky(t *testing.T) {
	data := random(3 << 20)
	s := serve(t, bytes.NewReader(data))
	s.before = func(n int64, w http.ResponseWriter, r *http.Request) bool {
		switch n % 4 {
		case 1:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		case 2: // half an answer
			w.Header().Set("Content-Range", strings.Replace(r.Header.Get("Range"), "bytes=", "bytes ", 1)+"/3145728")
			w.Header().Set("Content-Length", "262144")
			w.Header().Set("ETag", `"one"`)
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[:0])
			panic(http.ErrAbortHandler)
		}
		return false
	}
	r := open(t, s, Options{ReadAhead: -1})
	wantBytes(t, r, data, 0, len(data))
	s.before = func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	}
	r = NewReader(t.Context(), r.obj, Options{Disk: -1})
	_, err := r.ReadAt(make([]byte, 10), 1<<20)
	if err == nil || !strings.Contains(err.Error(), "502") || !strings.Contains(err.Error(), "6 attempts") {
		t.Errorf("a server that always fails: %v", err)
	}
}

// TestResumed: after an answer that breaks off only the rest is asked for.
func TestResumed(t *testing.T) {
	data := random(1 << 20)
	s := serve(t, bytes.NewReader(data))
	var ranges []string
	s.before = func(n int64, w http.ResponseWriter, r *http.Request) bool {
		if n == 1 {
			return false
		}
		ranges = append(ranges, r.Header.Get("Range"))
		if n > 2 {
			return false
		}
		w.Header().Set("Content-Range", "bytes 262144-524287/1048576")
		w.Header().Set("Content-Length", "262144")
		w.Header().Set("ETag", `"one"`)
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(data[256<<10 : 256<<10+100000])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	r := open(t, s, Options{ReadAhead: -1})
	wantBytes(t, r, data, 256<<10, 256<<10)
	if len(ranges) != 2 || ranges[1] != "bytes=362144-524287" {
		t.Errorf("asked for %q", ranges)
	}
}

// TestChanged: a file that changes on the server is noticed.
func TestChanged(t *testing.T) {
	data := random(4 << 20)
	for name, change := range map[string]func(s *server){
		"ETag": func(s *server) { s.etag.Store(`"two"`) },
		"size": func(s *server) { s.content = bytes.NewReader(data[:3<<20]) },
		"ETag, and the server does not know If-Range": func(s *server) {
			s.etag.Store(`"two"`)
			s.before = func(_ int64, _ http.ResponseWriter, r *http.Request) bool {
				r.Header.Del("If-Range")
				return false
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, bytes.NewReader(data))
			r := open(t, s, Options{})
			wantBytes(t, r, data, 0, 10)
			change(s)
			if _, err := r.ReadAt(make([]byte, 10), 2<<20); !errors.Is(err, ErrChanged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestNoRanges: from a server that gives whole files only, the file is fetched.
func TestNoRanges(t *testing.T) {
	data := random(3 << 20)
	s := serve(t, nil)
	s.before = func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write(data)
		return true
	}
	dir := t.TempDir()
	src, err := Open(t.Context(), s.URL+"/vmcore", Options{CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, src.ReaderAt, data, 1000, 2<<20)
	if moved, requests := src.ReaderAt.(dump.Meter).Moved(); moved != int64(len(data)) || requests != 1 || src.Size != moved {
		t.Errorf("%d bytes in %d requests", moved, requests)
	}
	if err := src.Closer.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "spool")); err != nil || len(left) > 0 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

// TestRefused: errors that no second attempt helps.
func TestRefused(t *testing.T) {
	for status, want := range map[int]string{
		http.StatusNotFound: "no such file", http.StatusForbidden: "denied", http.StatusUnauthorized: "password",
		http.StatusTeapot: "418",
	} {
		s := serve(t, nil)
		s.before = func(_ int64, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			return true
		}
		_, err := Open(t.Context(), s.URL+"/vmcore?secret=1", Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") || s.requests.Load() != 1 {
			t.Errorf("%d after %d requests: %v", status, s.requests.Load(), err)
		}
	}
	s := serve(t, bytes.NewReader(nil))
	if _, err := Open(t.Context(), s.URL, Options{CacheDir: t.TempDir()}); err == nil {
		t.Log("an empty file is left to the one who reads it")
	}
	for _, u := range []string{"https://", "https://%zz/", "http:///x"} {
		if _, err := Open(t.Context(), u, Options{}); err == nil {
			t.Errorf("%s: no error", u)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, serve(t, bytes.NewReader(random(10))).URL, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	if _, err := Open(t.Context(), secure.URL, Options{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
}

// TestPassword sends passwords to the host they are for only.
func TestPassword(t *testing.T) {
	data := random(1000)
	s := serve(t, bytes.NewReader(data))
	s.before = func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user != "ann" || password != "s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	}
	netrcPath := filepath.Join(t.TempDir(), "netrc")
	t.Setenv("NETRC", netrcPath)
	if _, err := Open(t.Context(), s.URL, Options{}); err == nil {
		t.Error("no password is enough")
	}
	src, err := Open(t.Context(), strings.Replace(s.URL, "http://", "http://ann:s3cret@", 1)+"/v", Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Closer.Close()
	if strings.Contains(src.Name, "s3cret") {
		t.Errorf("the name %s tells the password", src.Name)
	}
	wantBytes(t, src.ReaderAt, data, 0, 1000)
	if err := os.WriteFile(netrcPath, []byte("machine other login bob password x\nmachine 127.0.0.1\n\tlogin ann\n\tpassword s3cret\ndefault login eve password y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err = Open(t.Context(), s.URL, Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	_ = src.Closer.Close()

	away := serve(t, nil)
	away.before = func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		if _, _, ok := r.BasicAuth(); ok {
			t.Error("the password went to another host")
		}
		w.WriteHeader(http.StatusNotFound)
		return true
	}
	s.before = func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, strings.Replace(away.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
		return true
	}
	_, _ = Open(t.Context(), s.URL, Options{})
	if away.requests.Load() == 0 {
		t.Error("the redirection was not followed")
	}
}

// TestRedirected: what a redirection led to is used as long as it works.
func TestRedirected(t *testing.T) {
	data := random(4 << 20)
	signed := serve(t, bytes.NewReader(data))
	var valid atomic.Value
	valid.Store("/1")
	signed.before = func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != valid.Load() {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}
	front := serve(t, nil)
	front.before = func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, signed.URL+valid.Load().(string), http.StatusTemporaryRedirect)
		return true
	}
	r := open(t, front, Options{ReadAhead: -1})
	wantBytes(t, r, data, 0, 2<<20)
	valid.Store("/2")
	wantBytes(t, r, data, 2<<20, 2<<20)
	if n := front.requests.Load(); n != 2 {
		t.Errorf("the redirecting server was asked %d times", n)
	}
}

func TestCancelled(t *testing.T) {
	s := serve(t, bytes.NewReader(random(4<<20)))
	ctx, cancel := context.WithCancel(t.Context())
	src, err := Open(ctx, s.URL, Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	hang := make(chan struct{})
	s.before = func(_ int64, _ http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-hang
		return true
	}
	if _, err := src.ReaderAt.ReadAt(make([]byte, 10), 2<<20); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(hang)
	if err := src.Closer.Close(); err != nil {
		t.Error(err)
	}
	if _, err := src.ReaderAt.ReadAt(make([]byte, 10), 3<<20); err == nil {
		t.Error("reads after the end")
	}
}

func TestContentRange(t *testing.T) {
	for text, ok := range map[string]bool{
		"bytes 0-99/1000": true, "bytes 5-5/6": true, "bytes 0-99/*": false, "": false, "bytes */1000": false,
		"bytes 99-0/1000": false, "bytes 0-1000/1000": false, "bytes -1-5/1000": false, "bytes 0-99/99999999999999999999": false,
	} {
		resp := &http.Response{Header: http.Header{"Content-Range": {text}}}
		if _, _, _, err := contentRange(resp); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestNetrc(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"machine h login a password b":      "a:b",
		"machine h password b login a":      "a:b",
		"machine x login a password b":      "",
		"default login d password e":        "d:e",
		"machine x login a default login d": "d:",
		"machine h login a account z password b machine h login c": "a:b",
		"machine": "", "machine h login": "", "login a password b": "",
	} {
		got := ""
		if u := parseNetrc(text, "h"); u != nil {
			got = u.String()
			if !strings.Contains(got, ":") {
				got += ":"
			}
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
