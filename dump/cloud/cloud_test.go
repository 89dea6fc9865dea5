package cloud_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/kmortem/mortem/dump"
	_ "github.com/kmortem/mortem/dump/cloud"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

const info = "OSRELEASE=6.1.0-far\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff82c15c40\nNUMBER(phys_base)=0\n"

// machine is a machine of as many pages, each with its number in it.
type machine uint64

func (m machine) Pages() uint64                 { return uint64(m) }
func (m machine) State(uint64) dumpwriter.State { return dumpwriter.Present }
func (m machine) Read(pfn uint64, page []byte) error {
	for i := 0; i+8 <= len(page); i += 8 {
		binary.LittleEndian.PutUint64(page[i:], pfn<<12|uint64(i))
	}
	return nil
}

func kdump(t *testing.T, pages machine) []byte {
	t.Helper()
	var b dumpwriter.Buffer
	if err := dumpwriter.Kdump(&b, pages, dumpwriter.Config{VMCoreInfo: info}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// store is an S3 server in this process.
type store struct {
	backend gofakes3.Backend
	query   string
}

func newStore(t *testing.T) *store {
	t.Helper()
	s := &store{backend: s3mem.New()}
	server := httptest.NewServer(gofakes3.New(s.backend).Server())
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	s.query = "?region=us-east-1&use_path_style=true&disable_https=true&endpoint=" + url.QueryEscape(server.URL)
	if err := s.backend.CreateBucket("dumps"); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *store) put(t *testing.T, key string, data []byte) {
	t.Helper()
	if _, err := s.backend.PutObject("dumps", key, map[string]string{"Last-Modified": time.Now().UTC().Format(http.TimeFormat)}, bytes.NewReader(data), int64(len(data)), nil); err != nil {
		t.Fatal(err)
	}
}

func TestS3(t *testing.T) {
	const pages = 20000
	s := newStore(t)
	data := kdump(t, pages)
	s.put(t, "case 17/vmcore", data)
	dir := t.TempDir()
	for run := range 2 {
		img, err := dump.Open([]string{"s3://dumps/case 17/vmcore" + s.query}, dump.WithCacheDir(dir), dump.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		if f := img.Facts(); f.Release() != "6.1.0-far" || f.Files[0] != "s3://dumps/case 17/vmcore" {
			t.Errorf("release %q of %q", f.Release(), f.Files)
		}
		page, want := make([]byte, 4096), make([]byte, 4096)
		for i := range uint64(20) {
			pfn := i * 997 % pages
			_ = machine(pages).Read(pfn, want)
			if _, err := img.ReadPhys(page, pfn*4096); err != nil || !bytes.Equal(page, want) {
				t.Fatalf("page %d: %v", pfn, err)
			}
		}
		moved, requests, ok := dump.Moved(img)
		t.Logf("run %d: %d of %d KiB in %d requests", run, moved>>10, len(data)>>10, requests)
		if !ok || run == 0 && moved > int64(len(data))/4 || run == 1 && moved > 2<<20 { // read ahead that the end of the first run cut off
			t.Errorf("run %d: moved %d of %d bytes", run, moved, len(data))
		}
		if err := img.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestChanged: an object that is replaced while it is open is noticed.
func TestChanged(t *testing.T) {
	s := newStore(t)
	data := kdump(t, 2000)
	s.put(t, "vmcore", data)
	img, err := dump.Open([]string{"s3://dumps/vmcore" + s.query}, dump.WithCacheDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	data[len(data)-1]++
	s.put(t, "vmcore", data)
	_, err = img.ReadPhys(make([]byte, 10), (1000+rand.Uint64N(500))*4096)
	if !errors.Is(err, dump.ErrMissing) || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("got %v", err)
	}
}

func TestRefused(t *testing.T) {
	s := newStore(t)
	for address, want := range map[string]string{
		"s3://dumps/none" + s.query:     "no such object",
		"s3://nowhere/vmcore" + s.query: "vmcore",
		"s3://dumps" + s.query:          "s3://bucket/key",
		"s3:///key" + s.query:           "s3://bucket/key",
		"azblob://container/key":        "",
		"gs://":                         "gs://bucket/key",
	} {
		t.Setenv("AZURE_STORAGE_ACCOUNT", "")
		_, err := dump.Open([]string{address}, dump.WithCacheDir(t.TempDir()))
		if err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
