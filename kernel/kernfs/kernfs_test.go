package kernfs_test

import (
	"fmt"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/kernfs"
)

// slabs is the address of the struct kobject of /sys/kernel/slab.
func slabs(k *kernel.Kernel) (uint64, error) {
	at, err := k.Symbol("slab_kset")
	if err != nil {
		return 0, err
	}
	kset, err := k.Uint64(at)
	if err != nil {
		return 0, err
	}
	t, err := k.Type("struct kset")
	if err != nil {
		return 0, err
	}
	f, err := t.Field("kobj")
	return kset + uint64(f.Offset), err
}

// The directories and links of /sys/kernel/slab are those that the guest saw, and each
// link leads to the directory that it led to there.
func TestSlabDirectory(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	k := kerneltest.MainFS(t).Kernel()
	r, err := kernfs.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := slabs(k)
	if err != nil {
		t.Fatal(err)
	}
	dirs, links := make(map[uint64]string), make(map[string]uint64)
	for e, err := range r.Entries(dir) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case e.Link:
			links[e.Name] = e.Object
		case e.Dir:
			dirs[e.Object] = e.Name
		}
	}
	if len(links) != len(guest.SlabAliases) {
		t.Errorf("%d links, the guest has %d", len(links), len(guest.SlabAliases))
	}
	for name, target := range guest.SlabAliases {
		if got := dirs[links[name]]; got != target {
			t.Errorf("%s leads to %q, in the guest to %q", name, got, target)
		}
	}
	if len(dirs) < len(guest.Slabs)-len(guest.SlabAliases) || len(dirs) < 50 {
		t.Errorf("%d directories, the guest has %d with its %d links", len(dirs), len(guest.Slabs), len(links))
	}
}

func Example() {
	k := kerneltest.ExampleKernel()
	r, err := kernfs.Open(k)
	if err != nil {
		panic(err)
	}
	dir, err := slabs(k)
	if err != nil {
		panic(err)
	}
	for e, err := range r.Entries(dir) {
		if err != nil {
			panic(err)
		}
		if e.Name == "dentry" {
			fmt.Println(e.Name, "is a directory:", e.Dir)
		}
	}
	// Output: dentry is a directory: true
}
