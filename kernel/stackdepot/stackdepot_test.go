package stackdepot_test

import (
	"fmt"
	"testing"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/stackdepot"
)

// handle is the number of the stack that took the first live object of a cache which
// keeps records.
func handle(k *kernel.Kernel) (uint32, error) {
	pages, err := page.Open(k)
	if err != nil {
		return 0, err
	}
	s, err := slab.Open(k, pages)
	if err != nil {
		return 0, err
	}
	c, err := s.ByName("mortem_tracked")
	if err != nil {
		return 0, err
	}
	tracker, err := c.Tracks()
	if err != nil {
		return 0, err
	}
	for sl, err := range s.Walk(0, pages.Spans()[0].End) {
		if err != nil || sl.Cache != c {
			continue
		}
		mem, err := s.Read(&sl)
		if err != nil {
			return 0, err
		}
		return tracker.Alloc(mem[sl.Offset(0):]).Handle, nil
	}
	return 0, nil
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

func ExampleOpen() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	depot, err := stackdepot.Open(k)
	if err != nil {
		panic(err)
	}
	number, err := handle(k) // from a record of SLUB
	if err != nil {
		panic(err)
	}
	addrs, err := depot.Stack(number)
	if err != nil {
		panic(err)
	}
	for _, addr := range addrs[len(addrs)-3:] {
		sym, _, _ := k.SymbolAt(addr)
		fmt.Println(sym.Name)
	}
	// Output:
	// ksys_write
	// do_syscall_64
	// entry_SYSCALL_64_after_hwframe
}
