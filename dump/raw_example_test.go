package dump_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// exampleDir makes a directory with a LiME image of a small machine, which is
// packed by gzip, and the same memory without any header.
func exampleDir() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "mortem-example-")
	if err != nil {
		return "", nil, err
	}
	m := make(memory, 0x20000)
	m.putUts(0x5040, "6.1.0", "x86_64")
	m.put(0x9000, infoText("6.1.0", 0x5040))
	var lime dumpwriter.Buffer
	if err = dumpwriter.LiME(&lime, m.machine(), dumpwriter.Config{}); err != nil {
		return "", nil, err
	}
	if err = os.WriteFile(filepath.Join(dir, "memory.raw"), m, 0o600); err != nil {
		return "", nil, err
	}
	f, err := os.Create(filepath.Join(dir, "memory.lime.gz"))
	if err != nil {
		return "", nil, err
	}
	w := gzip.NewWriter(f)
	_, err = w.Write(lime.Bytes())
	for _, e := range []error{w.Close(), f.Close()} {
		if err == nil {
			err = e
		}
	}
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// A packed image of a kind that tells nothing about the machine: Open unpacks it
// and finds the kernel's own description in its memory.
func ExampleOpen_packed() {
	dir, remove, err := exampleDir()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer remove()
	img, err := dump.Open([]string{filepath.Join(dir, "memory.lime.gz")}, dump.WithCacheDir(dir))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer img.Close()
	f := img.Facts()
	fmt.Printf("%s, %q\nrelease %s, %s\n", f.Format, f.Variant, f.Release(), f.Arch)
	// Output:
	// LiME, ["packed with gzip" "VMCOREINFO found in memory"]
	// release 6.1.0, x86_64
}

// A file of which nothing but its owner tells that it is memory.
func ExampleWithRawMemory() {
	dir, remove, err := exampleDir()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer remove()
	img, err := dump.Open([]string{filepath.Join(dir, "memory.raw")}, dump.WithRawMemory(0))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer img.Close()
	for r := range img.Ranges() {
		fmt.Printf("%#x-%#x\n", r.Start, r.End)
	}
	// Output: 0x0-0x20000
}

// The name of the dumped machine stands in its memory.
func ExampleUname() {
	dir, remove, err := exampleDir()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer remove()
	img, err := dump.Open([]string{filepath.Join(dir, "memory.raw")}, dump.WithRawMemory(0))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer img.Close()
	uts, ok := dump.Uname(img)
	fmt.Println(uts.Nodename, uts.Release, uts.Machine, ok)
	// Output: crashed 6.1.0 x86_64 true
}
