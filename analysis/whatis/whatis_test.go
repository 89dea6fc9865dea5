package whatis_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/whatis"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
)

func number(t testing.TB, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func open(t testing.TB) *kernel.Kernel {
	t.Helper()
	k := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	if _, err := module.Attach(k); err != nil {
		t.Fatal(err)
	}
	return k
}

// What the guest knew of some addresses.
func TestGuest(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	k := open(t)
	one := guest.Plant.Tasks[len(guest.Plant.Tasks)-1]
	offset, err := k.Symbol("__per_cpu_offset")
	if err != nil {
		t.Fatal(err)
	}
	second, err := k.Uint64(offset + 8)
	if err != nil {
		t.Fatal(err)
	}
	runqueues, err := k.Symbol("runqueues")
	if err != nil {
		t.Fatal(err)
	}
	caches := make(map[string]uint64)
	for _, c := range guest.Plant.Caches {
		caches[c.Alias] = number(t, c.Cache)
	}
	for _, c := range []struct {
		what  string
		addr  uint64
		kinds []whatis.Kind
		says  string
	}{
		{"a symbol", number(t, guest.Symbols["init_task"]) + 8, []whatis.Kind{whatis.Symbol}, "init_task+0x8"},
		{"a leaked object", number(t, guest.Plant.Objects.LeakFirst) + 16, []whatis.Kind{whatis.SlabObject, whatis.Page}, "16 bytes into object"},
		{"a task", number(t, one.Task) + 3, []whatis.Kind{whatis.SlabObject, whatis.Task, whatis.Page}, fmt.Sprintf("PID %d", one.Pid)},
		{"a stack", number(t, one.Stack) + 256, []whatis.Kind{whatis.Stack, whatis.Vmalloc}, fmt.Sprintf("the stack of PID %d", one.Pid)},
		{"a cache", caches["mortem_widget"], []whatis.Kind{whatis.SlabObject, whatis.Page}, "cache kmem_cache"},
		{"the module", number(t, guest.Plant.Objects.LeakList), []whatis.Kind{whatis.Module}, "module mortem_plant"},
		{"a run queue", runqueues + second, []whatis.Kind{whatis.PerCPU}, "runqueues"},
		{"nothing", 0x10, []whatis.Kind{whatis.Unmapped}, "not mapped"},
	} {
		r := whatis.Look(k, c.addr)
		if !r.Coverage.Complete() {
			t.Errorf("%s: %+v", c.what, r.Coverage)
		}
		var kinds []whatis.Kind
		var texts []string
		for _, a := range r.Answers {
			kinds, texts = append(kinds, a.Kind), append(texts, string(a.Kind)+": "+a.Text)
		}
		for _, want := range c.kinds {
			if !slices.Contains(kinds, want) {
				t.Errorf("%s is no %s: %q", c.what, want, texts)
			}
		}
		if !strings.Contains(strings.Join(texts, "\n"), c.says) {
			t.Errorf("%s: %q does not say %q", c.what, texts, c.says)
		}
	}
}

// An address in the array of struct page is that of a page's structure, and an object
// that was leaked is in use.
func TestStructPage(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	k := open(t)
	page, err := k.Object("vmemmap_base").Uint()
	if err != nil {
		t.Fatal(err)
	}
	r := whatis.Look(k, page+64*0x1000+8)
	if len(r.Answers) != 1 || r.Answers[0].Kind != whatis.StructPage || *r.Answers[0].PFN != 0x1000 || r.Answers[0].Offset != 8 {
		t.Errorf("%+v", r.Answers)
	}
	if r := whatis.Look(k, number(t, guest.Plant.Objects.TracedLostLast)); len(r.Answers) == 0 || r.Answers[0].Free {
		t.Errorf("%+v", r.Answers)
	}
}

func Example() {
	k := kerneltest.ExampleKernel()
	addr, err := k.Symbol("init_net")
	if err != nil {
		panic(err)
	}
	for _, a := range whatis.Look(k, addr+16).Answers {
		fmt.Printf("%s: %s+%d\n", a.Kind, a.Name, a.Offset)
	}
	// Output: symbol: init_net+16
}
