package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/fixtures"
)

// aboutFile are the lines of info that tell where the dump comes from.
var aboutFile = regexp.MustCompile(`(?m)^(file|format|moved|pages|codecs|dump level|complete) .*\n`)

// TestInfoFromAnywhere: a dump is the same wherever it comes from.
func TestInfoFromAnywhere(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	packed := fixtures.Path(t, "kdump/vmcore.kdump.xz")
	plain := fixtures.Unpacked(t, "kdump/vmcore.kdump")
	files := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(plain))))
	defer files.Close()
	_, want, _ := mortem(t, "info", plain)
	for name, c := range map[string]struct {
		args []string
		in   string // file that comes from standard input
		says string
	}{
		"packed":     {[]string{"info", packed}, "", "packed with xz"},
		"pipe":       {[]string{"info", "-"}, plain, "from a pipe"},
		"packedPipe": {[]string{"info", "-"}, packed, "from a pipe"},
		"server":     {[]string{"info", files.URL + "/" + filepath.Base(plain)}, "", "over the network"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.in != "" {
				defer feed(t, c.in)()
			}
			status, got, errs := mortem(t, c.args...)
			if status != exitAnswered || errs != "" || !strings.Contains(got, c.says) {
				t.Fatalf("status %d, %s%s", status, got, errs)
			}
			if got, want := aboutFile.ReplaceAllString(got, ""), aboutFile.ReplaceAllString(want, ""); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// feed has a file come through a pipe from standard input, until the function
// that it returns is called.
func feed(t *testing.T, path string) func() {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(w, bytes.NewReader(data)) // who does not read it all has seen enough
		_ = w.Close()
	}()
	old := os.Stdin
	os.Stdin = r
	return func() {
		os.Stdin = old
		_ = r.Close()
	}
}

// TestRemoteDcache asks a question of a dump on a server.
func TestRemoteDcache(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	path := fixtures.Path(t, "main/vmcore.kdump")
	files := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(path))))
	defer files.Close()
	_, want, _ := mortem(t, "supers", "--json", path)
	status, got, errs := mortem(t, "supers", "--json", files.URL+"/vmcore.kdump")
	if status != exitAnswered || errs != "" || strings.ReplaceAll(got, files.URL+"/vmcore.kdump", path) != want {
		t.Errorf("status %d, %s", status, errs)
	}
	_, got, _ = mortem(t, "info", files.URL+"/vmcore.kdump")
	if !strings.Contains(got, "not counted") || !strings.Contains(got, "yes, by its headers (--verify") {
		t.Errorf("info counts the pages:\n%s", got)
	}
}

// TestRaw reads plain memory, which must be said to be that.
func TestRaw(t *testing.T) {
	memory := make([]byte, 64<<10)
	copy(memory[0x3000:], "OSRELEASE=5.9.0-raw\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff90000000\nNUMBER(phys_base)=0\n")
	path := write(t, "memory", memory)
	if status, _, errs := mortem(t, "info", path); status != exitUnusable || !strings.Contains(errs, "--raw-memory") {
		t.Errorf("without --raw-memory: status %d, %s", status, errs)
	}
	for _, flag := range []string{"--raw-memory", "--raw-memory=0x100000", "--raw"} {
		status, got, errs := mortem(t, "info", flag, path)
		if status != exitAnswered || !strings.Contains(got, "5.9.0-raw") {
			t.Errorf("%s: status %d, %s%s", flag, status, got, errs)
		}
	}
	if status, _, _ := mortem(t, "info", "--raw-memory=here", path); status != exitUsage {
		t.Errorf("status %d", status)
	}
	// The address is no word of its own, for it may be left out.
	if status, _, errs := mortem(t, "info", "--raw-memory", "0x100000", path); status != exitUnusable || !strings.Contains(errs, "--raw-memory=0x100000") {
		t.Errorf("status %d, %s", status, errs)
	}
}

// TestMovedLittle: what info needs of a large dump on a server is little.
func TestMovedLittle(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	pages := dumpwriter.PageMap{}
	for pfn := range uint64(8192) {
		pages[pfn] = []byte(strconv.FormatUint(pfn, 7))
	}
	path := filepath.Join(t.TempDir(), "vmcore")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dumpwriter.ELF(f, pages, dumpwriter.Config{VMCoreInfo: "OSRELEASE=6.1.0\nPAGESIZE=4096\n"}); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	files := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(path))))
	defer files.Close()
	img, err := dump.Open([]string{files.URL + "/vmcore"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = img.Close() }()
	if moved, _, _ := dump.Moved(img); moved > 1<<20 {
		t.Errorf("%d bytes moved", moved)
	}
}
