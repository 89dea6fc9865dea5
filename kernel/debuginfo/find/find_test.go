package find

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kmortem/mortem/kernel/debuginfo"
)

const (
	program = "../testdata/built/gcc-dwarf5.elf" // in place of a vmlinux
	release = "6.1.0-99-test"
)

func programID(t testing.TB) []byte {
	t.Helper()
	src, err := debuginfo.Open(program, debuginfo.NoCache())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	return src.BuildID()
}

func place(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(program)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// query keeps the test away from the machine's own debug files and servers.
func query(t testing.TB) Query {
	t.Helper()
	if test, ok := t.(*testing.T); ok {
		test.Setenv("DEBUGINFOD_CACHE_PATH", t.TempDir())
	}
	return Query{Release: release, BuildID: programID(t), Offline: true, CacheDir: t.TempDir(), root: t.TempDir()}
}

func check(t *testing.T, r *Result, err error, matched string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%v", err, r.Attempts)
	}
	defer r.Source.Close()
	if r.Matched != matched {
		t.Errorf("matched by %q, want %q", r.Matched, matched)
	}
	if typ, err := r.Source.Type("struct everything"); err != nil || typ.Size() == 0 {
		t.Errorf("struct everything: %v", err)
	}
}

func TestPlaces(t *testing.T) {
	for _, at := range []string{
		"/usr/lib/debug/boot/vmlinux-" + release,
		"/usr/lib/debug/lib/modules/" + release + "/vmlinux",
		"/usr/lib/debug/usr/lib/modules/" + release + "/vmlinux.debug",
		"/lib/modules/" + release + "/build/vmlinux",
		"/boot/vmlinux-" + release,
	} {
		q := query(t)
		path := place(t, filepath.Join(q.root, at))
		r, err := Kernel(context.Background(), q)
		check(t, r, err, "build id")
		if r.Path != path {
			t.Errorf("found %s, want %s", r.Path, path)
		}
	}
}

func TestBuildIDTree(t *testing.T) {
	q := query(t)
	place(t, debuginfo.BuildIDPath(filepath.Join(q.root, "/usr/lib/debug"), q.BuildID, ".debug"))
	r, err := Kernel(context.Background(), q)
	check(t, r, err, "build id")
}

func TestDebugDirs(t *testing.T) {
	for _, name := range []string{"vmlinux", "vmlinux-" + release, release + "/vmlinux", "usr/lib/debug/boot/../boot/vmlinux-" + release} {
		q := query(t)
		dir := t.TempDir()
		place(t, filepath.Join(dir, name))
		q.DebugDirs = []string{filepath.Join(dir, "nothing"), dir, filepath.Join(dir, "usr/lib/debug")}
		r, err := Kernel(context.Background(), q)
		check(t, r, err, "build id")
	}
}

// Without a build id on the dump's side the release has to do.
func TestUnknownBuildID(t *testing.T) {
	q := query(t)
	q.BuildID = nil
	place(t, filepath.Join(q.root, "/usr/lib/debug/boot/vmlinux-"+release))
	r, err := Kernel(context.Background(), q)
	check(t, r, err, "release")
}

func TestMismatch(t *testing.T) {
	q := query(t)
	q.BuildID = []byte{1, 2, 3, 4}
	place(t, filepath.Join(q.root, "/usr/lib/debug/boot/vmlinux-"+release))
	r, err := Kernel(context.Background(), q)
	if !errors.Is(err, ErrMismatch) || r.Source != nil {
		t.Errorf("another build was taken: %v", err)
	}
	q.Force = true
	r, err = Kernel(context.Background(), q)
	check(t, r, err, "forced")
	q.Force, q.Vmlinux = false, program
	if _, err := Kernel(context.Background(), q); !errors.Is(err, ErrMismatch) {
		t.Errorf("another build was taken because it was named: %v", err)
	}
}

func TestNothing(t *testing.T) {
	q := query(t)
	r, err := Kernel(context.Background(), q)
	if !errors.Is(err, ErrNotFound) || len(r.Attempts) < 10 || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, %d places", err, len(r.Attempts))
	}
	q.Release = "../../etc"
	if _, err := Kernel(context.Background(), q); !errors.Is(err, ErrNotFound) {
		t.Errorf("release with a path in it: %v", err)
	}
}

func TestPackages(t *testing.T) {
	packages, err := filepath.Glob("testdata/*.[dr][ep][bm]")
	if err != nil || len(packages) < 6 {
		t.Fatalf("%d packages: %v", len(packages), err)
	}
	for _, file := range packages {
		t.Run(filepath.Base(file), func(t *testing.T) {
			q := query(t)
			q.BuildID = nil // the program may have been built again since
			q.Vmlinux = file
			for range 2 {
				r, err := Kernel(context.Background(), q)
				check(t, r, err, "release")
			}
			q.Release = "5.4.0-other"
			if _, err := Kernel(context.Background(), q); err == nil {
				t.Error("a vmlinux of another release was taken out of the package")
			}
		})
	}
	q := query(t)
	q.BuildID, q.DebugDirs = nil, []string{"testdata"}
	r, err := Kernel(context.Background(), q)
	check(t, r, err, "release")
}

func TestModules(t *testing.T) {
	q := query(t)
	tree := filepath.Join(q.root, "/usr/lib/debug/lib/modules", release, "kernel/drivers")
	place(t, filepath.Join(tree, "snd-small.ko.debug"))
	os.MkdirAll(tree, 0o700)
	os.WriteFile(filepath.Join(tree, "other.ko"), []byte("no ELF"), 0o600)
	m := ForModules(context.Background(), q)
	r, err := m.Find("snd_small", nil)
	check(t, r, err, "release")
	r, err = m.Find("snd_small", q.BuildID)
	check(t, r, err, "build id")
	if _, err := m.Find("other", nil); err == nil {
		t.Error("a text file was taken for a module")
	}
	if _, err := m.Find("missing", nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing module: %v", err)
	}
}

// A server that has one file, and one that behaves badly.
func TestServers(t *testing.T) {
	q := query(t)
	id := hex.EncodeToString(q.BuildID)
	requests := 0
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.URL.Path != "/buildid/"+id+"/debuginfo" {
			http.NotFound(w, r)
			return
		}
		http.ServeFile(w, r, program)
	}))
	defer good.Close()
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		fmt.Fprint(w, "too short")
	}))
	defer bad.Close()
	cache := t.TempDir()
	t.Setenv("DEBUGINFOD_CACHE_PATH", cache)
	q.Offline, q.URLs = false, []string{"ima:enforcing", bad.URL, good.URL + "/"}
	for range 2 {
		r, err := Kernel(context.Background(), q)
		check(t, r, err, "build id")
		if want := filepath.Join(cache, id, "debuginfo"); r.Path != want {
			t.Errorf("kept at %s, want %s", r.Path, want)
		}
	}
	if requests != 1 {
		t.Errorf("%d requests, want 1", requests)
	}
	q.BuildID = []byte{9, 9, 9}
	if _, err := Kernel(context.Background(), q); !errors.Is(err, ErrNotFound) {
		t.Errorf("a file that no server has: %v", err)
	}
}

// A real debuginfod, where it is installed.
func TestDebuginfod(t *testing.T) {
	if _, err := exec.LookPath("debuginfod"); err != nil {
		t.Skip("debuginfod, the real server, is not installed; TestServers has one of its own")
	}
	q := query(t)
	dir := t.TempDir()
	place(t, filepath.Join(dir, "files", "vmlinux"))
	port := freePort(t)
	server := exec.Command("debuginfod", "-F", "-p", port, "-d", filepath.Join(dir, "db.sqlite"), filepath.Join(dir, "files"))
	server.Env = append(os.Environ(), "HOME="+dir)
	if err := server.Start(); err != nil {
		t.Skipf("debuginfod is installed and does not start: %v", err)
	}
	defer func() {
		server.Process.Kill()
		server.Wait()
	}()
	t.Setenv("DEBUGINFOD_CACHE_PATH", filepath.Join(dir, "cache"))
	t.Setenv("DEBUGINFOD_URLS", "http://127.0.0.1:"+port)
	q.Offline = false
	var r *Result
	var err error
	for range 60 { // it scans its directory first
		if r, err = Kernel(context.Background(), q); err == nil {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	check(t, r, err, "build id")
	if client, err := exec.LookPath("debuginfod-find"); err == nil {
		out, err := exec.Command(client, "debuginfo", hex.EncodeToString(q.BuildID)).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != r.Path {
			t.Errorf("elfutils' client keeps the file at %q, this program at %q (%v)", got, r.Path, err)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("no port on this machine for a server to listen on: %v", err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// FuzzPackage walks through damaged packages.
func FuzzPackage(f *testing.F) {
	packages, _ := filepath.Glob("testdata/*.[dr][ep][bm]")
	for _, file := range packages {
		if data, err := os.ReadFile(file); err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "package")
		if err := os.WriteFile(file, data, 0o600); err != nil || !isPackage(file) {
			return
		}
		n := 0
		_ = eachMember(file, func(m member) error {
			if n++; n > 100 {
				return errStop
			}
			return nil
		})
	})
}
