// Command mortem-cloud reads dumps in the clouds' object stores for mortem, which
// starts it for URLs that begin with s3://, gs:// or azblob://. It is to be
// installed beside mortem or in PATH. How it talks with mortem is told at
// remote.HelperName.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/kmortem/mortem/dump/cloud"
	"github.com/kmortem/mortem/dump/remote"
)

func main() {
	if len(os.Args) != 2 || os.Args[1] == "--help" {
		fmt.Fprintln(os.Stderr, "usage: mortem-cloud URL\n\nmortem runs this program for URLs that begin with s3://, gs:// or azblob://.")
		os.Exit(2)
	}
	ctx, stop := context.WithCancel(context.Background())
	serving, err := serve(ctx, os.Args[1])
	if err != nil {
		serving.Error = err.Error()
	}
	line, _ := json.Marshal(serving) // strings always are JSON
	fmt.Printf("%s\n", line)
	if err != nil {
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // ends when mortem does
	stop()
}

// serve serves the object at a URL on a port and under a path that cannot be
// guessed.
func serve(ctx context.Context, address string) (remote.Serving, error) {
	obj, err := cloud.Open(ctx, address)
	if err != nil {
		return remote.Serving{}, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return remote.Serving{}, err
	}
	path := "/" + rand.Text()
	mux := http.NewServeMux()
	mux.Handle("GET "+path, remote.Handler(obj))
	go func() {
		_ = http.Serve(l, mux) // until the process ends
	}()
	return remote.Serving{URL: "http://" + l.Addr().String() + path, Name: obj.Name()}, nil
}
