package vmalloc_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vmalloc"
)

func open(t testing.TB, k *kernel.Kernel) *vmalloc.Reader {
	t.Helper()
	r, err := vmalloc.Open(k)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The areas of /proc/vmallocinfo are found with their sizes, callers and pages, but for
// the few that came and went until the dump, seconds later.
func TestAreas(t *testing.T) {
	for _, boot := range []string{"main", "kdump"} {
		t.Run(boot, func(t *testing.T) {
			k := kerneltest.MainFS(t).Kernel()
			if boot != "main" {
				k = kerneltest.FS(t, fixtures.Unpacked(t, boot+"/vmcore.kdump")).Kernel()
			}
			areas, errs := open(t, k).Sorted()
			if len(errs) != 0 {
				t.Fatal(errs)
			}
			found := make(map[string]bool)
			for _, a := range areas {
				found[describe(k, a)] = true
			}
			total, missing := 0, 0
			for line := range strings.Lines(fixtures.Truth(t, boot).Early["/proc/vmallocinfo"]) {
				f := strings.Fields(line)
				if len(f) < 3 || strings.Contains(line, "unpurged") || strings.Contains(line, "vm_map_ram") {
					continue
				}
				pages := "0"
				for _, word := range f {
					if n, ok := strings.CutPrefix(word, "pages="); ok {
						pages = n
					}
				}
				size, _ := strconv.Atoi(f[1])
				total++
				if !found[fmt.Sprintf("%s %d %s %s", strings.SplitN(f[0], "-", 2)[0], size, place(f[2]), pages)] {
					missing++
				}
			}
			if total < 100 || missing*20 > total {
				t.Errorf("%d of the guest's %d areas are not found among %d", missing, total, len(areas))
			}
		})
	}
}

func describe(k *kernel.Kernel, a vmalloc.Area) string {
	caller, _ := k.LookupName(a.Caller)
	pages := a.Pages
	if a.Flags&vmalloc.FlagAlloc == 0 {
		pages = 0
	}
	return fmt.Sprintf("%#016x %d %s %d", a.Start, a.Size, place(caller), pages)
}

// place is a place in a function without the function's size, which the guest takes
// from the distance to the next symbol.
func place(name string) string { return strings.SplitN(name, "/", 2)[0] }

// The address of a task's stack leads to the area that fork took for it.
func TestFind(t *testing.T) {
	plant := fixtures.Truth(t, "main").Plant
	k := kerneltest.MainFS(t).Kernel()
	stack, _ := strconv.ParseUint(plant.Tasks[len(plant.Tasks)-1].Stack, 16, 64)
	a, ok, err := open(t, k).Find(stack + 100)
	if err != nil || !ok || a.Pages != 4 || !strings.HasPrefix(k.SymbolName(a.Caller), "kernel_clone+") {
		t.Errorf("%#x: %+v, %v, %v", stack, a, ok, err)
	}
	if _, ok, err := open(t, k).Find(0x1000); ok || err != nil {
		t.Errorf("an area at 0x1000: %v, %v", ok, err)
	}
}

func Example() {
	k := kerneltest.ExampleKernel()
	r, err := vmalloc.Open(k)
	if err != nil {
		panic(err)
	}
	stacks := 0
	for a, err := range r.Areas() {
		if err != nil {
			panic(err)
		}
		if sym, _, ok := k.SymbolAt(a.Caller); ok && sym.Name == "kernel_clone" {
			stacks++
		}
	}
	fmt.Println("tasks have stacks there:", stacks > 100)
	// Output: tasks have stacks there: true
}
