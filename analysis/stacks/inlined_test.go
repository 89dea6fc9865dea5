package stacks_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestInInlinedFunctions asks for the stacks of each function that drgn found
// inlined somewhere: they are those on which drgn has it, and it is among what is
// told of the frame.
func TestInInlinedFunctions(t *testing.T) {
	var want drgnTasks
	fixtures.Recorded(t, "main/drgn.json", &want)
	tasks, err := stacks.Open(withModules(t))
	if err != nil {
		t.Fatal(err)
	}
	all, err := tasks.Collect(t.Context(), stacks.Options{})
	if err != nil {
		t.Fatal(err)
	}
	left := map[uint64]bool{} // see TestStacksAreDrgns
	for i := range all.Stacks {
		s := &all.Stacks[i]
		left[uint64(s.Addr)] = s.Running || s.End == "freed"
	}
	on, inlined := map[string][]uint64{}, map[string]bool{}
	for _, task := range want.Tasks {
		at := hex(task.Task)
		if left[at] || len(task.Frames) == 0 || hex(task.Frames[0].PC)>>63 == 0 {
			left[at] = true
			continue
		}
		for _, f := range task.Frames {
			inlined[f.Function] = inlined[f.Function] || f.Inlined
			if !slices.Contains(on[f.Function], at) {
				on[f.Function] = append(on[f.Function], at)
			}
		}
	}
	asked := 0
	for name, is := range inlined {
		if !is {
			continue
		}
		asked++
		r, err := tasks.Collect(t.Context(), stacks.Options{In: []string{name}})
		if err != nil || len(r.Unknown) > 0 || len(r.Missing) > 0 {
			t.Fatalf("%s: %v, %q, %q", name, err, r.Unknown, r.Missing)
		}
		var got []uint64
		for i := range r.Stacks {
			if s := &r.Stacks[i]; !left[uint64(s.Addr)] {
				got = append(got, uint64(s.Addr))
				if !marked(s, name) {
					t.Errorf("%d: no frame tells that %s is inlined", s.PID, name)
				}
			}
		}
		slices.Sort(got)
		slices.Sort(on[name])
		if !slices.Equal(got, on[name]) {
			t.Errorf("%s: on %d stacks, drgn has it on %d: %x, %x", name, len(got), len(on[name]), got, on[name])
		}
	}
	if asked < 20 {
		t.Errorf("drgn's stacks have only %d inlined functions", asked)
	}
}

// marked tells whether a frame of a stack is the function's, or tells that it is
// inlined there, and no frame tells of others.
func marked(s *stacks.Stack, name string) bool {
	found := false
	for i := range s.Frames {
		f := &s.Frames[i]
		here := slices.ContainsFunc(f.Source, func(s stacks.Source) bool { return s.Inlined && s.Function == name })
		if len(f.Source) > 0 && !here {
			return false
		}
		base, _, _ := strings.Cut(f.Function, ".")
		found = found || here || base == name
	}
	return found
}

// TestInlinedWithoutDWARF: what cannot be known is said.
func TestInlinedWithoutDWARF(t *testing.T) {
	for _, with := range []struct {
		tasks   func() (*stacks.Tasks, error)
		missing string
		unknown string
	}{
		{func() (*stacks.Tasks, error) {
			return stacks.Open(kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main)))
		},
			"functions inlined into others are not found in mortem_plant: that needs DWARF", "there is no function no_such_function, or it was inlined everywhere, which only DWARF tells"},
		{func() (*stacks.Tasks, error) { return stacks.Open(withModules(t)) }, "", "there is no function no_such_function"},
	} {
		tasks, err := with.tasks()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"no_such_function", "static_key_false"} { // of which the second is in the debug information, and on no stack
			r, err := tasks.Collect(t.Context(), stacks.Options{In: []string{name}})
			if err != nil || r.Selected != 0 || strings.Join(r.Missing, "\n") != with.missing {
				t.Errorf("%s: %v, %d stacks, missing %q instead of %q", name, err, r.Selected, r.Missing, with.missing)
			}
			unknown := ""
			if name == "no_such_function" {
				unknown = with.unknown
			}
			if strings.Join(r.Unknown, "\n") != unknown {
				t.Errorf("%s: unknown %q", name, r.Unknown)
			}
		}
	}
}
