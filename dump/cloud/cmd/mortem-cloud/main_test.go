package main_test

import (
	"bytes"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/dump/remote"
)

// TestHelper builds the program and has a program without the clouds' libraries
// read through it: this test, which does not import package cloud.
func TestHelper(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skipf("the program is built by go, which is not there: %v", err)
	}
	dir := t.TempDir()
	if out, err := exec.Command(goTool, "build", "-o", filepath.Join(dir, remote.HelperName), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, value := range map[string]string{
		"PATH": dir, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	backend := s3mem.New()
	store := httptest.NewServer(gofakes3.New(backend).Server())
	defer store.Close()
	if err := backend.CreateBucket("dumps"); err != nil {
		t.Fatal(err)
	}
	var b dumpwriter.Buffer
	pages := dumpwriter.PageMap{0: []byte("zero"), 1: []byte("one"), 5: []byte("five")}
	if err := dumpwriter.Kdump(&b, pages, dumpwriter.Config{VMCoreInfo: "OSRELEASE=6.1.0-far\nPAGESIZE=4096\n"}); err != nil {
		t.Fatal(err)
	}
	if _, err := backend.PutObject("dumps", "vmcore", map[string]string{}, bytes.NewReader(b.Bytes()), int64(len(b.Bytes())), nil); err != nil {
		t.Fatal(err)
	}
	query := "?region=us-east-1&use_path_style=true&disable_https=true&endpoint=" + url.QueryEscape(store.URL)
	img, err := dump.Open([]string{"s3://dumps/vmcore" + query}, dump.WithCacheDir(t.TempDir()), dump.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	got := make([]byte, 4)
	if _, err := img.ReadPhys(got, 5*4096); err != nil || string(got) != "five" {
		t.Errorf("%q, %v", got, err)
	}
	if f := img.Facts(); f.Release() != "6.1.0-far" || f.Files[0] != "s3://dumps/vmcore" {
		t.Errorf("release %q of %q", f.Release(), f.Files)
	}
	_, err = dump.Open([]string{"s3://dumps/none" + query}, dump.WithContext(t.Context()))
	if err == nil || !strings.Contains(err.Error(), "no such object") {
		t.Errorf("got %v", err)
	}
}
