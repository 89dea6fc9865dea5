package dumpwriter_test

import (
	"bytes"
	"fmt"
	"io"
	"log"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/dump/dumpwriter"
)

// memory is what the examples dump.
var memory = dumpwriter.PageMap{0: []byte("a page"), 1: nil, 7: []byte("another")}

// config names a kernel; without that a kdump file looks like one of QEMU's.
var config = dumpwriter.Config{Uts: dumpwriter.Utsname{Release: "6.1.0"}, DumpLevel: 31}

func formatOf(files ...[]byte) string {
	var sources []dump.Source
	for _, data := range files {
		sources = append(sources, dump.Source{Size: int64(len(data)), ReaderAt: bytes.NewReader(data)})
	}
	img, err := dump.OpenSources(sources)
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	return fmt.Sprint(img.Facts().Format, " ", img.Facts().Variant)
}

func ExampleELF() {
	var b dumpwriter.Buffer
	if err := dumpwriter.ELF(&b, memory, config); err != nil {
		log.Fatal(err)
	}
	fmt.Println(formatOf(b.Bytes()))
	// Output: ELF vmcore []
}

func ExampleKdump() {
	var b dumpwriter.Buffer
	cfg := config
	cfg.Codec = dumpwriter.All(dumpwriter.Zstd)
	if err := dumpwriter.Kdump(&b, memory, cfg); err != nil {
		log.Fatal(err)
	}
	fmt.Println(formatOf(b.Bytes()))
	// Output: kdump-compressed []
}

func ExampleSplit() {
	var a, b dumpwriter.Buffer
	if err := dumpwriter.Split([]io.WriterAt{&a, &b}, memory, config); err != nil {
		log.Fatal(err)
	}
	fmt.Println(formatOf(b.Bytes(), a.Bytes()))
	// Output: kdump-compressed [split in 2 parts]
}

func ExampleFlattener() {
	var pipe bytes.Buffer
	w := dumpwriter.NewFlattener(&pipe)
	if err := dumpwriter.Kdump(w, memory, config); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(formatOf(pipe.Bytes()))
	// Output: kdump-compressed [flattened]
}
