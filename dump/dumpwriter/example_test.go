package dumpwriter_test

import (
	"bytes"
	"encoding/binary"
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

func ExampleLiME() {
	var b dumpwriter.Buffer
	if err := dumpwriter.LiME(&b, memory, dumpwriter.Config{}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(formatOf(b.Bytes()))
	// Output: LiME []
}

func ExampleAVML() {
	var b dumpwriter.Buffer
	if err := dumpwriter.AVML(&b, memory, dumpwriter.Config{}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(formatOf(b.Bytes()))
	// Output: AVML []
}

// A suspended machine's state, with its memory in the same file.
func ExampleVMware() {
	var state dumpwriter.Buffer
	cpus := []dumpwriter.VMwareCPU{{RIP: 0xffffffff81000000}}
	if err := dumpwriter.VMware(&state, nil, memory, cpus, false, dumpwriter.Config{}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(formatOf(state.Bytes()))
	// Output: VMware memory []
}

// Each codec has a page of each three, as in a dump whose writer was configured
// anew in its middle.
func ExampleMix() {
	codec := dumpwriter.Mix(dumpwriter.Zlib, dumpwriter.LZO, dumpwriter.Raw)
	for pfn := range uint64(4) {
		fmt.Println(pfn, codec(pfn))
	}
	// Output:
	// 0 zlib
	// 1 lzo
	// 2 raw
	// 3 zlib
}

// opened is what the reader says of an ELF dump with notes.
func opened(notes ...dumpwriter.Note) dump.Image {
	var b dumpwriter.Buffer
	if err := dumpwriter.ELF(&b, memory, dumpwriter.Config{Notes: notes}); err != nil {
		log.Fatal(err)
	}
	img, err := dump.OpenSources([]dump.Source{{Size: int64(len(b.Bytes())), ReaderAt: bytes.NewReader(b.Bytes())}})
	if err != nil {
		log.Fatal(err)
	}
	return img
}

func ExamplePRStatus() {
	var regs [27]uint64        // struct user_regs_struct of x86-64
	regs[16] = 0xffffffff81000 // rip
	img := opened(dumpwriter.PRStatus(binary.LittleEndian, 64, 4711, regs[:]))
	defer img.Close()
	cpu := img.Facts().CPUs[0]
	ip, _ := cpu.Register("ip")
	fmt.Printf("task %d at %#x\n", cpu.PID, ip)
	// Output: task 4711 at 0xffffffff81000
}

func ExampleQEMUState() {
	var regs [27]uint64
	state := dumpwriter.QEMUState(binary.LittleEndian, [18]uint64{}, [5]uint64{3: 0x2a10000}, 0xffff888007c00000)
	img := opened(dumpwriter.PRStatus(binary.LittleEndian, 64, 1, regs[:]), state)
	defer img.Close()
	cpu := img.Facts().CPUs[0]
	cr3, _ := cpu.Register("cr3")
	gs, _ := cpu.Register("kernel_gs_base")
	fmt.Printf("page tables at %#x, per-CPU data at %#x\n", cr3, gs)
	// Output: page tables at 0x2a10000, per-CPU data at 0xffff888007c00000
}
