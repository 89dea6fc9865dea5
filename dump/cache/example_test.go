package cache_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kmortem/mortem/dump/cache"
)

// base stands for the user's cache directory.
func base() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "mortem-example-")
	if err != nil {
		panic(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

// What was made of a file once is found again by the file's contents.
func Example() {
	user, remove := base()
	defer remove()
	packed := filepath.Join(user, "vmcore.xz")
	if err := os.WriteFile(packed, []byte("packed bytes"), 0o600); err != nil {
		panic(err)
	}
	unpack := func() {
		f, err := os.Open(packed)
		if err != nil {
			panic(err)
		}
		defer f.Close()
		key, err := cache.FileKey(f)
		if err != nil {
			panic(err)
		}
		dir, err := cache.Dir(user, "unpacked")
		if err != nil {
			panic(err)
		}
		path := filepath.Join(dir, key)
		if cache.Has(path) {
			fmt.Println("it is there")
			return
		}
		fmt.Println("it is made")
		if err := cache.Write(path, func(f *os.File) error { _, err := f.WriteString("bytes"); return err }); err != nil {
			panic(err)
		}
	}
	unpack()
	unpack()
	// Output:
	// it is made
	// it is there
}

func ExampleDir() {
	user, remove := base()
	defer remove()
	dir, err := cache.Dir(user, "index")
	if err != nil {
		panic(err)
	}
	info, err := os.Stat(dir)
	fmt.Println(filepath.Base(dir), info.Mode(), err)
	// Output: index drwx------ <nil>
}

// Files of the same size and contents have the same key, wherever they are.
func ExampleKey() {
	key := func(text string) string {
		k, err := cache.Key(bytes.NewReader([]byte(text)), int64(len(text)))
		if err != nil {
			panic(err)
		}
		return k
	}
	copied := []byte("a dump")
	fmt.Println(key("a dump") == key(string(copied)), key("a dump") == key("another"))
	// Output: true false
}

func ExampleFileKey() {
	user, remove := base()
	defer remove()
	f, err := os.Create(filepath.Join(user, "vmcore"))
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := f.WriteString("a dump"); err != nil {
		panic(err)
	}
	ofFile, err := cache.FileKey(f)
	if err != nil {
		panic(err)
	}
	ofBytes, err := cache.Key(bytes.NewReader([]byte("a dump")), 6)
	fmt.Println(ofFile == ofBytes, err)
	// Output: true <nil>
}

// A file whose writer fails is not there afterwards.
func ExampleWrite() {
	user, remove := base()
	defer remove()
	path := filepath.Join(user, "index")
	err := cache.Write(path, func(f *os.File) error {
		_, err := f.WriteString("half of it")
		return errors.Join(err, errors.New("no more"))
	})
	fmt.Println(err, cache.Has(path))
	err = cache.Write(path, func(f *os.File) error { _, err := f.WriteString("all of it"); return err })
	fmt.Println(err, cache.Has(path))
	// Output:
	// no more false
	// <nil> true
}

// An empty file is what a full disk leaves: it does not count.
func ExampleHas() {
	user, remove := base()
	defer remove()
	path := filepath.Join(user, "vmlinux")
	fmt.Println(cache.Has(path))
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		panic(err)
	}
	fmt.Println(cache.Has(path))
	// Output:
	// false
	// false
}
