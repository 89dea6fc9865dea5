package debuginfo_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// The file is a small program; a vmlinux is opened in the same way.
func ExampleOpen() {
	src, err := debuginfo.Open("testdata/built/gcc-dwarf5.elf", debuginfo.NoCache())
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	t, err := src.Type("struct everything")
	if err != nil {
		log.Fatal(err)
	}
	f, err := t.Field("ops.table[1]")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(t, t.Size(), f.Offset, f.Type)

	variable, _ := src.Variable("everything")
	symbol, _ := src.Symbols().Lookup("everything")
	fmt.Println(variable.Declare(symbol.Name), symbol.Size)

	value, enum, _ := src.Enumerator("GREEN")
	fmt.Println(enum, value)
	// Output:
	// struct everything 256 72 const struct op *const *(*)(enum colour)
	// struct everything everything 256
	// enum colour 7
}

func ExampleOpen_print() {
	src, err := debuginfo.Open("testdata/built/gcc-dwarf5.elf", debuginfo.NoCache())
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	t, err := src.Type("struct packed_bits")
	if err != nil {
		log.Fatal(err)
	}
	if err := ctype.Print(os.Stdout, t, ctype.PrintOptions{}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// struct packed_bits {
	// 	u8 head;                                        /*     0        1 */
	// 	u32 a:12;                                       /*     0: 8     4 */
	// 	u32 b:17;                                       /*     2: 4     4 */
	// 	u64 c:37;                                       /*     4: 5     8 */
	// 	/* 6 bits hole */
	// 	u8 tail;                                        /*    10        1 */
	// 	/* size: 11, members: 5, holes: 1 (6 bits in all) */
	// };
}

func ExampleLines() {
	src, err := debuginfo.Open("testdata/built/gcc-dwarf5.elf", debuginfo.NoCache())
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	entry, _ := src.Symbols().Lookup("entry")
	frames, err := src.(debuginfo.Lines).Frames(entry.Addr + 23)
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range frames {
		fmt.Printf("%s %s:%d inlined %v\n", f.Name, f.Line.File, f.Line.Line, f.Inlined)
	}
	// Output:
	// inner first.c:30 inlined true
	// outer first.c:36 inlined true
	// entry first.c:45 inlined false
}

func ExampleWritePack() {
	kernel, err := debuginfo.Open("testdata/built/gcc-dwarf5.elf", debuginfo.NoCache())
	if err != nil {
		log.Fatal(err)
	}
	defer kernel.Close()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "6.1.0.mpack")
	if err := debuginfo.WritePack(path, kernel, nil); err != nil {
		log.Fatal(err)
	}
	pack, err := debuginfo.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer pack.Close()
	t, _ := pack.Type("struct list_head")
	fmt.Println(t, t.Size())
	// Output: struct list_head 16
}
