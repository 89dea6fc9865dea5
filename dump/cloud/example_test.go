package cloud_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/cloud"
	"github.com/kmortem/mortem/dump/dumpwriter"
	"github.com/kmortem/mortem/dump/remote"
)

// bucket is an S3 server in this process that holds a dump, s3://dumps/case-17,
// and the query of URLs that leads there; those of real buckets need none.
func bucket() (server *httptest.Server, query string) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	var vmcore dumpwriter.Buffer
	if err := dumpwriter.Kdump(&vmcore, machine(1000), dumpwriter.Config{VMCoreInfo: info}); err != nil {
		panic(err)
	}
	backend := s3mem.New()
	if err := backend.CreateBucket("dumps"); err != nil {
		panic(err)
	}
	modified := map[string]string{"Last-Modified": time.Now().UTC().Format(http.TimeFormat)}
	data := vmcore.Bytes()
	if _, err := backend.PutObject("dumps", "case-17", modified, bytes.NewReader(data), int64(len(data)), nil); err != nil {
		panic(err)
	}
	server = httptest.NewServer(gofakes3.New(backend).Server())
	return server, "?region=us-east-1&use_path_style=true&disable_https=true&endpoint=" + url.QueryEscape(server.URL)
}

// Importing the package is enough: dump.Open then reads the clouds' URLs.
func Example() {
	server, query := bucket()
	defer server.Close()
	dir, err := os.MkdirTemp("", "mortem-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	img, err := dump.Open([]string{"s3://dumps/case-17" + query}, dump.WithCacheDir(dir))
	if err != nil {
		panic(err)
	}
	defer img.Close()
	fmt.Println(img.Facts().Format, img.Facts().Release())
	// Output: kdump-compressed 6.1.0-far
}

// With options that dump.Open does not have: nothing is kept on disk.
func ExampleOpen() {
	server, query := bucket()
	defer server.Close()
	ctx := context.Background()
	obj, err := cloud.Open(ctx, "s3://dumps/case-17"+query)
	if err != nil {
		panic(err)
	}
	r := remote.NewReader(ctx, obj, remote.Options{Disk: -1})
	img, err := dump.OpenSources([]dump.Source{r.Source()})
	if err != nil {
		panic(err)
	}
	defer img.Close() // which closes the Reader and the object
	fmt.Println(img.Facts().Format, img.Facts().Release())
	// Output: kdump-compressed 6.1.0-far
}
