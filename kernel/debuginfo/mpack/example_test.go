package mpack_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/kmortem/mortem/kernel/debuginfo/mpack"
)

func ExampleNewWriter() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "example.mpack")
	f, err := os.Create(path)
	if err != nil {
		log.Fatal(err)
	}
	w, err := mpack.NewWriter(f)
	if err != nil {
		log.Fatal(err)
	}
	_ = w.Add("greeting", []byte("hello, hello, hello"), false)
	_ = w.Close() // makes the file valid
	_ = f.Close()

	data, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	r, err := mpack.NewReader(data)
	if err != nil {
		log.Fatal(err)
	}
	text, err := r.Section("greeting")
	fmt.Println(mpack.Is(data), r.Names(), string(text), err)
	// Output: true [greeting] hello, hello, hello <nil>
}
