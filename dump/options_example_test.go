package dump_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// A server that looks at many dumps at a time gives each a part of its memory.
func ExampleWithCache() {
	path, remove := writeExample()
	defer remove()
	img, err := dump.Open([]string{path}, dump.WithCache(64<<20))
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	buf := make([]byte, 14)
	if _, err := img.ReadPhys(buf, 0x2000); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", buf)
	// Output: the third page
}

// On a file system that may go away, reading with system calls gives errors where
// touching a mapping would fault.
func ExampleWithoutMapping() {
	path, remove := writeExample()
	defer remove()
	img, err := dump.Open([]string{path}, dump.WithoutMapping())
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	buf := make([]byte, 14)
	if _, err := img.ReadPhys(buf, 0x2000); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", buf)
	// Output: the third page
}

// Whoever waits for a large dump to be unpacked may lose patience.
func ExampleWithContext() {
	dir, remove, err := exampleDir()
	if err != nil {
		log.Fatal(err)
	}
	defer remove()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = dump.Open([]string{filepath.Join(dir, "memory.lime.gz")}, dump.WithContext(ctx), dump.WithCacheDir(dir))
	fmt.Println("given up:", errors.Is(err, context.Canceled))
	// Output: given up: true
}

// Unpacking a large file takes a while.
func ExampleWithProgress() {
	dir, remove, err := exampleDir()
	if err != nil {
		log.Fatal(err)
	}
	defer remove()
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.NoCompression)
	if err != nil {
		log.Fatal(err)
	}
	_, err = w.Write(make([]byte, 9<<20))
	path := filepath.Join(dir, "memory.raw.gz")
	if err := errors.Join(err, w.Close(), os.WriteFile(path, packed.Bytes(), 0o600)); err != nil {
		log.Fatal(err)
	}
	img, err := dump.Open([]string{path}, dump.WithRawMemory(0), dump.WithCacheDir(dir), dump.WithProgress(func(p dump.Progress) {
		fmt.Printf("%s: %d of %d MiB\n", filepath.Base(p.What), p.Done>>20, p.Total>>20)
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	// Output: memory.raw.gz: 8 of 9 MiB
}

// A program that knows the kernel already need not wait for the search.
func ExampleWithoutScan() {
	dir, remove, err := exampleDir()
	if err != nil {
		log.Fatal(err)
	}
	defer remove()
	path := filepath.Join(dir, "memory.raw")
	for _, opts := range [][]dump.Option{{}, {dump.WithoutScan()}} {
		img, err := dump.Open([]string{path}, append(opts, dump.WithRawMemory(0))...)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("release %q\n", img.Facts().Release())
		_ = img.Close() // opened for reading only
	}
	// Output:
	// release "6.1.0"
	// release ""
}

// counted is a remote file: it counts what comes from there.
type counted struct {
	io.ReaderAt
	bytes, requests atomic.Int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.bytes.Add(int64(n))
	c.requests.Add(1)
	return n, err
}

// Moved implements dump.Meter.
func (c *counted) Moved() (bytes, requests int64) { return c.bytes.Load(), c.requests.Load() }

// What implements Meter can be asked for its count where only the Image is at
// hand.
func ExampleMoved() {
	var vmcore dumpwriter.Buffer
	if err := dumpwriter.ELF(&vmcore, dumpwriter.PageMap{0: []byte("the first page")}, dumpwriter.Config{}); err != nil {
		log.Fatal(err)
	}
	file := &counted{ReaderAt: bytes.NewReader(vmcore.Bytes())}
	img, err := dump.OpenSources([]dump.Source{{Name: "far away", Size: int64(len(vmcore.Bytes())), ReaderAt: file}}, dump.WithoutScan())
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	if _, err := img.ReadPhys(make([]byte, 16), 0); err != nil {
		log.Fatal(err)
	}
	moved, requests, remote := dump.Moved(img)
	fmt.Println(remote, moved == file.bytes.Load(), requests == file.requests.Load())
	// Output: true true true
}

// An archive gives dumps by names of its own.
func ExampleRegisterOpener() {
	var vmcore dumpwriter.Buffer
	cfg := dumpwriter.Config{VMCoreInfo: "OSRELEASE=6.1.0-13-amd64\n"}
	if err := dumpwriter.Kdump(&vmcore, dumpwriter.PageMap{0: []byte("the first page")}, cfg); err != nil {
		log.Fatal(err)
	}
	archive := map[string][]byte{"archive://2023/case-17": vmcore.Bytes()}

	dump.RegisterOpener("archive", func(_ context.Context, url string, _ dump.OpenerOptions) (dump.Source, error) {
		data, ok := archive[url]
		if !ok {
			return dump.Source{}, errors.New("no such case")
		}
		return dump.Source{Name: url, Size: int64(len(data)), ReaderAt: bytes.NewReader(data)}, nil
	})
	img, err := dump.Open([]string{"archive://2023/case-17"})
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	fmt.Println(img.Facts().Release())
	_, err = dump.Open([]string{"archive://2023/case-18"})
	fmt.Println(err)
	// Output:
	// 6.1.0-13-amd64
	// archive://2023/case-18: no such case
}

// A program that reads /proc/kcore finds the same text in a note there.
func ExampleParseVMCoreInfo() {
	info := dump.ParseVMCoreInfo([]byte("OSRELEASE=6.1.0\nSYMBOL(init_uts_ns)=ffffffff82c15c40\nSIZE(page)=64\n" +
		"OFFSET(page.flags)=0\nLENGTH(free_area.free_list)=6\nNUMBER(phys_base)=-16777216\nKERNELOFFSET=1a00000\n"))
	uts, _ := info.Symbol("init_uts_ns")
	size, _ := info.Size("page")
	lists, _ := info.Length("free_area.free_list")
	base, _ := info.Number("phys_base")
	offset, _ := info.Hex("KERNELOFFSET")
	_, ok := info.Offset("page._refcount")
	fmt.Printf("init_uts_ns at %#x\na struct page has %d bytes; %d free lists\nphys_base %d, KASLR offset %#x\npage._refcount is told: %v\n",
		uts, size, lists, base, offset, ok)
	// Output:
	// init_uts_ns at 0xffffffff82c15c40
	// a struct page has 64 bytes; 6 free lists
	// phys_base -16777216, KASLR offset 0x1a00000
	// page._refcount is told: false
}

// Bit 0 of makedumpfile's dump level leaves out pages of zeros, bit 3 those of
// processes.
func ExampleFacts_ExcludedKinds() {
	for _, kind := range (&dump.Facts{DumpLevel: 1 | 8}).ExcludedKinds() {
		fmt.Println(kind)
	}
	// Output:
	// pages of zeros
	// user pages
}
