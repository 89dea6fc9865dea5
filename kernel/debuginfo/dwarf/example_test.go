package dwarf_test

import (
	"fmt"
	"log"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo/dwarf"
	"github.com/kmortem/mortem/kernel/debuginfo/elffile"
)

// The sections can come from anywhere; here they are those of a small program.
func ExampleNew() {
	file, err := elffile.Open("../testdata/built/gcc-dwarf5.elf")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	section := func(name string) []byte {
		data, err := file.Section(name)
		if err != nil {
			log.Fatal(err)
		}
		return data
	}
	data, err := dwarf.New(dwarf.Sections{
		File: file.Path(), Info: section(".debug_info"), Abbrev: section(".debug_abbrev"),
		Str: section(".debug_str"), LineStr: section(".debug_line_str"),
	}, dwarf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	t := data.Type(ctype.Struct, "everything")
	value, enum, _ := data.Enumerator("GREEN")
	fmt.Println(t, t.Size(), enum, value, data.Damage())
	// Output: struct everything 256 enum colour 7 <nil>
}
