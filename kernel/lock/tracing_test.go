package lock_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch/taken"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

var surveyed = flag.String("survey", "", "a dump and its vmlinux, apart by a comma, whose functions TestTracing surveys too")

// survey is how well the code of a kernel's functions can be followed.
type survey struct {
	functions, lost             int // that take or give; that cannot be followed
	takes, gives, known, paired int
	left                        int                     // functions that return with something taken
	origins                     map[taken.Origin][2]int // takes, and of these those that a frame leads to
	examples                    map[string][]string
}

func tracing(t testing.TB, k *kernel.Kernel) lock.Tracing {
	t.Helper()
	modules, _ := module.Attach(k)
	tracer, err := unwind.New(k, modules)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := task.New(k)
	if err != nil {
		t.Fatal(err)
	}
	r, err := lock.Open(k, tasks, tracer, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.Trace()
}

// surveyOf follows every nth function of a kernel that takes or gives back locks.
func surveyOf(t testing.TB, k *kernel.Kernel, nth int) *survey {
	t.Helper()
	tr := tracing(t, k)
	v := &survey{origins: map[taken.Origin][2]int{}, examples: map[string][]string{}}
	last := uint64(0)
	n := 0
	for sym := range textSymbols(k) {
		addr := k.Runtime(sym.Addr)
		if addr == last || sym.Size == 0 || sym.Size > taken.MaxFunction {
			continue
		}
		last = addr
		if n++; n%nth != 0 {
			continue
		}
		code := make([]byte, sym.Size)
		if _, err := k.Read(code, addr); err != nil {
			continue
		}
		list, left, ok := taken.Sites(tr.Machine(), code, addr, tr.EffectsOf)
		switch {
		case !ok:
			v.lost++
			v.example("cannot be followed", sym.Name)
		case len(list) > 0:
			v.add(k, sym.Name, list, left)
		}
	}
	return v
}

func textSymbols(k *kernel.Kernel) func(func(debuginfo.Symbol) bool) {
	return func(yield func(debuginfo.Symbol) bool) {
		all := k.Info().Symbols()
		for i := range all.Len() {
			if s := all.At(i); s.Kind == debuginfo.SymbolText && !yield(s) {
				return
			}
		}
	}
}

func (v *survey) example(kind, name string) {
	if list := v.examples[kind]; len(list) < 12 && !slices.Contains(list, name) {
		v.examples[kind] = append(list, name)
	}
}

func (v *survey) add(k *kernel.Kernel, name string, list []taken.Site, left int) {
	v.functions++
	if left > 0 {
		v.left++
	}
	gives := false
	for _, s := range list {
		gives = gives || !s.Take
	}
	if left > 0 && gives {
		v.example("returns with something taken", name)
	}
	takes := slices.ContainsFunc(list, func(s taken.Site) bool { return s.Take })
	for _, s := range list {
		if !s.Take {
			v.gives++
			if s.Paired {
				v.paired++
			} else if takes {
				v.example("unlock without its lock, "+string(s.Origin), k.SymbolName(s.Addr))
			}
			continue
		}
		v.takes++
		o := v.origins[s.Origin]
		o[0]++
		if s.Known {
			v.known++
			o[1]++
		} else {
			v.example("not known, "+string(s.Origin), k.SymbolName(s.Addr))
		}
		v.origins[s.Origin] = o
	}
}

func share(a, b int) string {
	return fmt.Sprintf("%d of %d (%.1f %%)", a, b, 100*float64(a)/float64(max(b, 1)))
}

func (v *survey) log(t testing.TB) {
	t.Logf("%d functions take or give back locks; %d functions cannot be followed", v.functions, v.lost)
	t.Logf("the address of what is taken is known at the call in %s", share(v.known, v.takes))
	var kinds []string
	for o, n := range v.origins {
		kinds = append(kinds, fmt.Sprintf("%s %s", o, share(n[1], n[0])))
	}
	slices.Sort(kinds)
	t.Logf("by origin: %s", strings.Join(kinds, ", "))
	t.Logf("what is given back was taken by the same function, and known to be the same: %s; functions that return with something taken: %d", share(v.paired, v.gives), v.left)
	for kind, names := range v.examples {
		t.Logf("%s: %s", kind, strings.Join(names, ", "))
	}
}

// TestTracing: of nearly all calls that take a lock in a kernel it is known which one
// they take, and nearly all functions that give locks back are seen to have taken them.
func TestTracing(t *testing.T) {
	kernels := map[string]*kernel.Kernel{"x86-64": kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main)), "arm64": kerneltest.ARM64(t)}
	if files := strings.Split(*surveyed, ","); len(files) == 2 {
		kernels = map[string]*kernel.Kernel{"other": openKernel(t, files[0], files[1])}
	}
	nth := 1
	if *surveyed == "" {
		nth = 10
	}
	if testing.Short() {
		nth = 50
	}
	for name, k := range kernels {
		t.Run(name, func(t *testing.T) {
			v := surveyOf(t, k, nth)
			v.log(t)
			if v.lost > 0 || v.known*100 < v.takes*95 || v.paired*100 < v.gives*75 || v.takes < 40 {
				t.Error("that is less than the code of a kernel allows")
			}
		})
	}
}

func openKernel(t testing.TB, vmcore, vmlinux string) *kernel.Kernel {
	t.Helper()
	image, err := dump.Open([]string{vmcore})
	if err != nil {
		t.Fatal(err)
	}
	info, err := debuginfo.Open(vmlinux)
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}
