package find_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/kmortem/mortem/kernel/debuginfo/find"
)

func ExampleKernel() {
	cache, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(cache)
	result, err := find.Kernel(context.Background(), find.Query{
		Release:   "6.1.0-99-test",
		DebugDirs: []string{"testdata"}, // has packages of this release
		Offline:   true,
		CacheDir:  cache,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer result.Source.Close()
	t, _ := result.Source.Type("struct list_head")
	fmt.Println(t, t.Size(), "matched by", result.Matched)
	// Output: struct list_head 16 matched by release
}

// The modules of one kernel, one after the other.
func ExampleForModules() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	// The debug file of a module, where distributions put it.
	tree := filepath.Join(dir, "lib/modules/6.1.0-99-test/kernel/sound")
	data, err := os.ReadFile("../testdata/built/gcc-dwarf5-module.ko")
	if err == nil {
		err = os.MkdirAll(tree, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(tree, "snd-small.ko.debug"), data, 0o600)
	}
	if err != nil {
		log.Fatal(err)
	}

	modules := find.ForModules(context.Background(), find.Query{
		Release: "6.1.0-99-test", DebugDirs: []string{dir}, Offline: true, CacheDir: dir,
	})
	result, err := modules.Find("snd_small", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer result.Source.Close()
	fmt.Println(filepath.Base(result.Path))
	_, err = modules.Find("snd_large", nil)
	fmt.Println(errors.Is(err, find.ErrNotFound))
	// Output:
	// snd-small.ko.debug
	// true
}
