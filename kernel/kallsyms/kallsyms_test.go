package kallsyms

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

func TestEras(t *testing.T) {
	for _, e := range eras {
		t.Run(e.name, func(t *testing.T) {
			list := someSymbols(e)
			mem, told, old := image(e, list)
			for _, info := range []*dump.VMCoreInfo{told, old} {
				got, err := read(mem, info)
				if err != nil {
					t.Fatal(err)
				}
				if names := show(got); !slices.Equal(names, plain(list)) {
					t.Fatalf("got %d symbols:\n%q\nwant %d:\n%q", len(names), names, len(list), plain(list))
				}
			}
		})
	}
}

func show(list []debuginfo.Symbol) (names []string) {
	for _, s := range list {
		names = append(names, fmt.Sprintf("%#x %s", s.Addr, s.Name))
	}
	slices.Sort(names)
	return names
}

func TestSizesAndKinds(t *testing.T) {
	e := eras[4]
	mem, told, _ := image(e, someSymbols(e))
	list, err := read(mem, told)
	if err != nil {
		t.Fatal(err)
	}
	symbols := debuginfo.NewSymbols(list)
	for _, want := range []debuginfo.Symbol{
		{Name: "fixed_percpu_data", Addr: 0, Size: 0x1c070, Kind: debuginfo.SymbolAbsolute, Global: true},
		{Name: "cpu_number", Addr: 0x1c070, Kind: debuginfo.SymbolAbsolute, Global: true},
		{Name: "do_0_work_item_a", Addr: testStext + 0x1000, Size: 0x40, Kind: debuginfo.SymbolText},
		{Name: "init_task", Addr: testStext + 0x400000, Size: 0x500000, Kind: debuginfo.SymbolData, Global: true},
		{Name: "__start_init_task", Addr: testStext + 0x400000, Kind: debuginfo.SymbolData, Global: true},
		{Name: "_end", Addr: testStext + 0x900000, Kind: debuginfo.SymbolData, Global: true},
	} {
		if got, ok := symbols.Lookup(want.Name); !ok || got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if s, ok := symbols.Containing(testStext + 0x400010); !ok || s.Name != "init_task" {
		t.Errorf("init_task+0x10 is in %+v", s)
	}
}

func TestWithoutTables(t *testing.T) {
	_, _, old := image(eras[0], someSymbols(eras[0]))
	mem := &flat{testStext, make([]byte, 8<<20)}
	if _, err := read(mem, old); !errors.Is(err, ErrNotFound) {
		t.Errorf("in empty memory: %v", err)
	}
	if _, err := read(mem, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("without VMCOREINFO: %v", err)
	}
}

// TestTokensBeforeImage has a token index that leads to before _stext.
func TestTokensBeforeImage(t *testing.T) {
	mem, _, _ := image(eras[2], someSymbols(eras[2]))
	for i := range uint64(16) {
		info := dump.ParseVMCoreInfo(fmt.Appendf(nil, "SYMBOL(_stext)=%x\n", testStext+uint64(len(mem.data))-i*64))
		if _, err := read(mem, info); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	}
	at := uint64(bytes.Index(mem.data, digits()))
	if _, err := read(mem, dump.ParseVMCoreInfo(fmt.Appendf(nil, "SYMBOL(_stext)=%x\n", testStext+at))); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// TestDamage changes the tables in every place near their ends and in the
// numbers, and expects errors or other symbols, and an end.
func TestDamage(t *testing.T) {
	e := eras[6]
	list := someSymbols(e)
	mem, told, _ := image(e, list)
	for name := range map[string]bool{"kallsyms_num_syms": true, "kallsyms_names": true, "kallsyms_token_table": true,
		"kallsyms_token_index": true, "kallsyms_offsets": true, "kallsyms_relative_base": true} {
		at, _ := told.Symbol(name)
		for i := range uint64(64) {
			b := &mem.data[at-testStext+i]
			was := *b
			*b ^= 0xff
			_, _ = read(mem, told)
			*b = was
		}
	}
	mem.data = mem.data[:len(mem.data)/2]
	if _, err := read(mem, told); !errors.Is(err, errHole) {
		t.Errorf("with half of the memory: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, e := range eras {
		mem, told, _ := image(e, someSymbols(e))
		names, _ := told.Symbol("kallsyms_num_syms")
		index, _ := told.Symbol("kallsyms_token_index")
		f.Add(mem.data[testRO-testStext:], uint32(names-testRO), uint32(index-testRO))
	}
	f.Fuzz(func(t *testing.T, data []byte, num, index uint32) {
		mem := &flat{testStext, data}
		text := fmt.Sprintf("SYMBOL(_stext)=%x\n", uint64(testStext))
		if list, err := read(mem, dump.ParseVMCoreInfo([]byte(text))); err == nil && len(list) == 0 {
			t.Error("no symbols and no error")
		}
		at := func(off uint32) uint64 { return testStext + uint64(off) }
		text += fmt.Sprintf("SYMBOL(kallsyms_num_syms)=%x\nSYMBOL(kallsyms_names)=%x\nSYMBOL(kallsyms_token_table)=%x\n"+
			"SYMBOL(kallsyms_token_index)=%x\nSYMBOL(kallsyms_offsets)=%x\nSYMBOL(kallsyms_relative_base)=%x\n",
			at(num), at(num+8), at(index-min(index, 900)), at(index), at(index+512), at(num-min(num, 8)))
		_, _ = read(mem, dump.ParseVMCoreInfo([]byte(text)))
	})
}
