package stackdepot_test

import (
	"fmt"
	"testing"

	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/stackdepot"
)

// stack is who took the first live object of a cache that keeps records.
func stack() ([]string, error) {
	k := kerneltest.ExampleKernel()
	depot, err := stackdepot.Open(k)
	if err != nil {
		return nil, err
	}
	pages, err := page.Open(k)
	if err != nil {
		return nil, err
	}
	s, err := slab.Open(k, pages)
	if err != nil {
		return nil, err
	}
	c, err := s.ByName("mortem_tracked")
	if err != nil {
		return nil, err
	}
	tracker, err := c.Tracks()
	if err != nil {
		return nil, err
	}
	for sl, err := range s.Walk(0, pages.Spans()[0].End) {
		if err != nil || sl.Cache != c {
			continue
		}
		mem, err := s.Read(&sl)
		if err != nil {
			return nil, err
		}
		addrs, err := depot.Stack(tracker.Alloc(mem[sl.Offset(0):]).Handle)
		var names []string
		for _, addr := range addrs {
			sym, _, _ := k.SymbolAt(addr)
			names = append(names, sym.Name)
		}
		return names, err
	}
	return nil, nil
}

// What is no handle is refused.
func TestWrongHandles(t *testing.T) {
	d, err := stackdepot.Open(kerneltest.MainFS(t).Kernel())
	if err != nil {
		t.Fatal(err)
	}
	for _, handle := range []uint32{1, 0xffffffff, 0x3ff << 16, 1<<26 | 1} {
		if stack, err := d.Stack(handle); err == nil {
			t.Errorf("%#x: %#x", handle, stack)
		}
	}
	if stack, err := d.Stack(0); err != nil || stack != nil {
		t.Errorf("0: %#x, %v", stack, err)
	}
}

func Example() {
	names, err := stack()
	if err != nil {
		panic(err)
	}
	fmt.Println(names[len(names)-3:])
	// Output: [ksys_write do_syscall_64 entry_SYSCALL_64_after_hwframe]
}
