package hashtable_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/hashtable"
	"github.com/kmortem/mortem/kernel/indump"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// Without vmlinux the variables of most tables have no type. A table that is found
// nevertheless is the same one, with the same entries.
func TestWithoutVmlinux(t *testing.T) {
	full := kerneltest.MainFS(t).Kernel()
	mem, err := kernel.OpenMemory(full.Image())
	if err != nil {
		t.Fatal(err)
	}
	info, err := indump.Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := kernel.Open(full.Image(), info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, p := range hashtable.Presets() {
		list, err := hashtable.New(bare).Tables(p, 0)
		if err != nil {
			if !hashtable.Absent(err) {
				t.Errorf("%s: %v", p.Name, err)
			}
			continue
		}
		want, err := hashtable.New(full).Tables(p, 0)
		if err != nil {
			if !errors.Is(err, hashtable.ErrUnset) {
				t.Errorf("%s: found in BTF and not in DWARF: %v", p.Name, err)
			}
			continue
		}
		if len(list) != len(want) {
			t.Errorf("%s: %d tables, with vmlinux %d", p.Name, len(list), len(want))
			continue
		}
		for i, table := range list {
			w := want[i]
			if table.Addr != w.Addr || table.Buckets != w.Buckets || table.Stride != w.Stride {
				t.Errorf("%s: %d buckets of %d bytes at %#x, with vmlinux %d of %d at %#x",
					p.Name, table.Buckets, table.Stride, table.Addr, w.Buckets, w.Stride, w.Addr)
			} else if got, want := entries(t, table), entries(t, w); !slices.Equal(got, want) {
				t.Errorf("%s: %d entries, with vmlinux %d", p.Name, len(got), len(want))
			}
			found++
		}
	}
	if found < 20 {
		t.Errorf("only %d tables are found without vmlinux", found)
	}
}
