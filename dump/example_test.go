package dump_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// writeExample writes a small dump, and returns its path and what removes it.
// Programs have a path from their user.
func writeExample() (path string, remove func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	path = filepath.Join(dir, "vmcore")
	f, err := os.Create(path)
	if err != nil {
		log.Fatal(err)
	}
	mem := dumpwriter.PageMap{0: []byte("the first page"), 1: nil, 2: []byte("the third page"), 16: {}}
	err = errors.Join(dumpwriter.Kdump(f, mem, dumpwriter.Config{
		Uts:        dumpwriter.Utsname{Sysname: "Linux", Nodename: "db1", Release: "6.1.0-13-amd64", Machine: "x86_64"},
		VMCoreInfo: "OSRELEASE=6.1.0-13-amd64\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff82c15c40\n",
		Time:       time.Unix(1700000000, 0),
		DumpLevel:  31,
		Codec:      dumpwriter.All(dumpwriter.Zlib),
	}), f.Close())
	if err != nil {
		log.Fatal(err)
	}
	return path, func() { _ = os.RemoveAll(dir) }
}

// openExample opens the small dump as Open does, for examples of something else.
func openExample() dump.Image {
	path, remove := writeExample()
	defer remove() // what is open can be read on
	img, err := dump.Open([]string{path})
	if err != nil {
		log.Fatal(err)
	}
	return img
}

func ExampleOpen() {
	path, remove := writeExample()
	defer remove()
	img, err := dump.Open([]string{path})
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	f := img.Facts()
	fmt.Printf("%s of %s, %s, kernel %s\n", f.Format, f.Uts.Nodename, f.Arch, f.Uts.Release)
	fmt.Println("taken at", f.Time)
	for r := range img.Ranges() {
		fmt.Printf("memory from %#x to %#x\n", r.Start, r.End)
	}
	// Output:
	// kdump-compressed of db1, x86_64, kernel 6.1.0-13-amd64
	// taken at 2023-11-14 22:13:20 +0000 UTC
	// memory from 0x0 to 0x1000
	// memory from 0x2000 to 0x3000
	// memory from 0x10000 to 0x11000
}

func ExampleImage_ReadPhys() {
	img := openExample()
	defer img.Close()

	buf := make([]byte, 14)
	for _, addr := range []uint64{0x2000, 0x1000, 0x9000} {
		_, err := img.ReadPhys(buf, addr)
		switch {
		case errors.Is(err, dump.ErrExcluded):
			fmt.Printf("%#x was filtered out\n", addr)
		case errors.Is(err, dump.ErrMissing):
			fmt.Printf("%#x is no memory of this machine\n", addr)
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Printf("%#x: %s\n", addr, buf)
		}
	}
	// Output:
	// 0x2000: the third page
	// 0x1000 was filtered out
	// 0x9000 is no memory of this machine
}

func ExampleImage_ViewPhys() {
	img := openExample()
	defer img.Close()

	view, err := img.ViewPhys(0x2004, 5)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", view)
	// Output: third
}

func ExampleImage_Sweep() {
	img := openExample()
	defer img.Close()

	// Each worker counts for itself; nothing needs a lock.
	workers := runtime.GOMAXPROCS(0)
	zeros := make([]int, workers)
	err := img.Sweep(context.Background(), workers, func(worker int, p dump.Page) error {
		if p.Err != nil {
			return nil // Verify tells about these
		}
		if strings.Trim(string(p.Data), "\x00") == "" {
			zeros[worker]++
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	total := 0
	for _, n := range zeros {
		total += n
	}
	fmt.Println("pages of zeros:", total)
	// Output: pages of zeros: 1
}

func ExampleGuard() {
	img := openExample()
	defer img.Close()

	view, err := img.ViewPhys(0, 16)
	if err != nil {
		log.Fatal(err)
	}
	// Touching a view can fault if somebody cuts the file short meanwhile.
	err = dump.Guard(func() error {
		fmt.Println(string(view[4:9]))
		return nil
	})
	fmt.Println("error:", err)
	// Output:
	// first
	// error: <nil>
}

func ExampleStat() {
	img := openExample()
	defer img.Close()

	st, err := dump.Stat(context.Background(), img)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d present, %d excluded, %d packed by zlib\n", st.Present, st.Excluded, st.Codecs[dump.CodecZlib])
	// Output: 3 present, 1 excluded, 3 packed by zlib
}

func ExampleVerify() {
	path, remove := writeExample()
	defer remove()
	data, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	data[len(data)-3] ^= 1 // in the last page's checksum
	if err := os.WriteFile(path, data, 0o600); err != nil {
		log.Fatal(err)
	}
	img, err := dump.Open([]string{path})
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	st, err := dump.Verify(context.Background(), img, dump.VerifyOptions{Workers: 2, Report: func(e *dump.ReadError) error {
		fmt.Printf("page at %#x: %v\n", e.Addr, e.Err)
		return nil
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("damaged pages:", st.Damaged)
	// Output:
	// page at 0x10000: zlib: wrong checksum
	// damaged pages: 1
}

func ExampleVMCoreInfo() {
	img := openExample()
	defer img.Close()

	info := img.Facts().VMCoreInfo // nil where the dump has none: all answers are "no" then
	if addr, ok := info.Symbol("init_uts_ns"); ok {
		fmt.Printf("init_uts_ns is at %#x\n", addr)
	}
	// Output: init_uts_ns is at 0xffffffff82c15c40
}

func ExampleOpenSources() {
	path, remove := writeExample()
	defer remove()
	f, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	// Any io.ReaderAt will do: a blob in a cloud, a file inside an archive.
	img, err := dump.OpenSources([]dump.Source{{Name: "db1.vmcore", Size: st.Size(), ReaderAt: f, Closer: f}})
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	fmt.Println(img.Facts().Files)
	// Output: [db1.vmcore]
}
