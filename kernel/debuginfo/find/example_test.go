package find_test

import (
	"context"
	"fmt"
	"log"
	"os"

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
