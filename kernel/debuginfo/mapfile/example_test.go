package mapfile_test

import (
	"fmt"
	"log"

	"github.com/kmortem/mortem/kernel/debuginfo/mapfile"
)

// Reading goes through Guard: a file that is cut short meanwhile gives an error.
func ExampleGuard() {
	const path = "../testdata/built/gcc-dwarf5.elf"
	file, err := mapfile.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	err = mapfile.Guard(path, func() error {
		fmt.Printf("%q\n", file.Data()[:4])
		return nil
	})
	fmt.Println(err)
	// Output:
	// "\x7fELF"
	// <nil>
}

// What is in memory already takes the place of a file.
func ExampleInMemory() {
	file := mapfile.InMemory([]byte("\x7fELF"))
	defer file.Close()
	fmt.Printf("%q\n", file.Data())
	// Output: "\x7fELF"
}
