package elffile_test

import (
	"errors"
	"fmt"
	"log"
	"os"

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

// A vmlinux that came out of a package and was never on disk.
func ExampleNew() {
	data, err := os.ReadFile("../testdata/built/gcc-dwarf5.elf")
	if err != nil {
		log.Fatal(err)
	}
	file, err := elffile.New("vmlinux", data)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	fmt.Println(file.Machine(), file.Relocatable())
	_, err = elffile.New("notes.txt", []byte("a text"))
	fmt.Println(errors.Is(err, elffile.ErrNotELF))
	// Output:
	// EM_X86_64 false
	// true
}

// Does the file that the debug link names belong to this program?
func ExampleCheckCRC() {
	file, err := elffile.Open("../testdata/built/separate.elf")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	name, crc := file.DebugLink()
	fmt.Println(name, elffile.CheckCRC("../testdata/built/"+name, crc))
	fmt.Println("another file:", elffile.CheckCRC("../testdata/built/gcc-dwarf5.elf", crc) != nil)
	// Output:
	// separate.debug <nil>
	// another file: true
}

// The notes as they are in memory, between __start_notes and __stop_notes.
func ExampleBuildIDFromNotes() {
	notes := append([]byte{
		4, 0, 0, 0, // bytes of the name
		6, 0, 0, 0, // bytes of the description
		3, 0, 0, 0, // NT_GNU_BUILD_ID
	}, "GNU\x00\xab\xcd\xef\x01\x02\x03\x00\x00"...)
	fmt.Printf("%x\n", elffile.BuildIDFromNotes(notes, 4))
	// Output: abcdef010203
}
