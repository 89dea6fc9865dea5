package elffile_test

import (
	"fmt"
	"log"

	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
)

func ExampleOpen() {
	file, err := elffile.Open("../testdata/built/gcc-dwarf5-zlib.elf")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	info, err := file.Section(".debug_info") // is compressed in this file
	symbols, _ := file.Symbols()
	fmt.Println(len(info) > 0, err, len(symbols) > 0, file.Machine())
	// Output: true <nil> true EM_X86_64
}
