package debuginfo_test

import (
	"fmt"
	"log"
	"os"

	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/debuginfo/btf"
)

// Debug information that lies elsewhere, in a tree of build ids or beside the file.
func ExampleDebugDir() {
	src, err := debuginfo.Open("testdata/built/separate.elf", debuginfo.DebugDir("/srv/debug"), debuginfo.NoCache())
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	t, err := src.Type("struct everything")
	fmt.Println(t, err)
	fmt.Println(debuginfo.BuildIDPath("/srv/debug", []byte{0xab, 0xcd, 0xef}, ".debug"))
	// Output:
	// struct everything <nil>
	// /srv/debug/.build-id/ab/cdef.debug
}

// A vmlinux that is in memory already.
func ExampleOpenBytes() {
	data, err := os.ReadFile("testdata/built/gcc-dwarf5.elf")
	if err != nil {
		log.Fatal(err)
	}
	src, err := debuginfo.OpenBytes("gcc-dwarf5.elf", data, debuginfo.NoCache())
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	names := 0
	for range src.(debuginfo.Names).Enumerators() {
		names++
	}
	fmt.Println(src.Describe(), names > 0)
	// Output: gcc-dwarf5.elf (DWARF) true
}

func ExampleNewSymbols() {
	symbols := debuginfo.NewSymbols([]debuginfo.Symbol{
		{Name: "schedule", Addr: 0xffffffff81001000, Size: 0x40, Kind: debuginfo.SymbolText, Global: true},
		{Name: "panic", Addr: 0xffffffff81002000, Size: 0x80, Kind: debuginfo.SymbolText, Global: true},
	})
	inside, _ := symbols.Containing(0xffffffff81002010)
	_, found := symbols.Containing(0xffffffff81001040)
	named, _ := symbols.Lookup("schedule")
	fmt.Printf("%s, %v, %#x\n", inside.Name, found, named.Addr)
	// Output: panic, false, 0xffffffff81001000
}

func ExampleFromBTF() {
	raw, err := os.ReadFile("testdata/built/types.btf")
	if err != nil {
		log.Fatal(err)
	}
	types, err := btf.Parse(raw)
	if err != nil {
		log.Fatal(err)
	}
	src := debuginfo.FromBTF(types, "types.btf")
	t, err := src.Type("struct list_head")
	fmt.Println(t.Size(), err)
	_, err = src.Type("struct nothing")
	fmt.Println(err)
	// Output:
	// 16 <nil>
	// type struct nothing: not in the debug information of types.btf
}

func ExampleIsMark() {
	fmt.Println(debuginfo.IsMark("__start_orc_unwind"), debuginfo.IsMark("_etext"), debuginfo.IsMark("start_kernel"))
	// Output: true true false
}

// Debug information that is damaged in places still serves for the rest, and says so.
func ExampleDamageOf() {
	src, err := debuginfo.Open("testdata/built/gcc-dwarf5.elf", debuginfo.NoCache())
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	fmt.Println(debuginfo.DamageOf(src))
	// Output: <nil>
}
