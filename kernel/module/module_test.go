package module_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/module"
)

const plant = "mortem_plant"

func attach(t *testing.T) (*kernel.Kernel, *module.Table) {
	t.Helper()
	k := kerneltest.Kernel(t, fixtures.Path(t, kerneltest.Main))
	table, err := module.Attach(k)
	if err != nil {
		t.Fatal(err)
	}
	return k, table
}

func planted(t *testing.T, table *module.Table) *module.Module {
	t.Helper()
	list, err := table.Modules()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if m.Name == plant {
			return m
		}
	}
	t.Fatalf("no %s among %d modules", plant, len(list))
	return nil
}

// TestProcModules writes the modules as the guest's /proc/modules had them,
// without the counts of users.
func TestProcModules(t *testing.T) {
	_, table := attach(t)
	list, err := table.Modules()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range list {
		line := fmt.Sprintf("%s %d %s 0x%x", m.Name, m.Size(), m.State, m.Base())
		if flags := m.TaintFlags(); flags != "" {
			line += " (" + flags + ")"
		}
		got = append(got, line)
	}
	var want []string
	for line := range strings.Lines(fixtures.Truth(t, "main").Early["/proc/modules"]) {
		f := strings.Fields(line)
		want = append(want, strings.Join(slices.Concat(f[:2], f[4:]), " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, the guest had %q", got, want)
	}
}

// TestSections compares with /sys/module/mortem_plant/sections.
func TestSections(t *testing.T) {
	_, table := attach(t)
	sections, err := table.Reader().Sections(planted(t, table))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range sections {
		got[s.Name] = fmt.Sprintf("%#x", s.Addr)
	}
	want := 0
	for path, addr := range fixtures.Truth(t, "main").Early {
		name, ok := strings.CutPrefix(path, "/sys/module/"+plant+"/sections/")
		if !ok {
			continue
		}
		want++
		if got[name] != strings.TrimSpace(addr) {
			t.Errorf("section %s is at %s, was at %s in the guest", name, got[name], addr)
		}
	}
	if len(got) != want || want < 10 {
		t.Errorf("%d sections, the guest had %d", len(got), want)
	}
}

func TestBuildID(t *testing.T) {
	_, table := attach(t)
	ko, err := debuginfo.Open(fixtures.Path(t, plant+".ko.xz"))
	if err != nil {
		t.Fatal(err)
	}
	defer ko.Close()
	if got := table.Reader().BuildID(planted(t, table)); fmt.Sprintf("%x", got) != fmt.Sprintf("%x", ko.BuildID()) || len(got) == 0 {
		t.Errorf("build id %x, the module's file has %x", got, ko.BuildID())
	}
}

// TestSymbols compares with the guest's /proc/kallsyms.
func TestSymbols(t *testing.T) {
	k, table := attach(t)
	n := 0
	for name, text := range fixtures.Truth(t, "main").Symbols {
		if !strings.HasPrefix(name, "mp_") {
			continue
		}
		n++
		want, err := strconv.ParseUint(text, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		if s, of, ok := table.Lookup(plant + ":" + name); !ok || s.Addr != want || of != plant {
			t.Errorf("%s is at %#x, was at %#x in the guest", name, s.Addr, want)
		}
		if got := k.SymbolName(want); got != name+" ["+plant+"]" {
			t.Errorf("%#x is named %s, not %s", want, got, name)
		}
	}
	if n < 5 {
		t.Errorf("only %d symbols compared", n)
	}
}

// TestNamesInStacks: an address in the module is named exactly as in the
// guest's /proc/PID/stack and log, sizes of functions included.
func TestNamesInStacks(t *testing.T) {
	k, table := attach(t)
	facts := fixtures.Truth(t, "main")
	var text []string
	for _, task := range facts.Tasks {
		for _, thread := range task.Threads {
			text = append(text, thread.Stack)
		}
	}
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`([\w.]+)\+(0x[0-9a-f]+)/0x[0-9a-f]+ \[`+plant+`\]`).
		FindAllStringSubmatch(strings.Join(append(text, facts.Kmsg...), "\n"), -1) {
		if seen[m[0]] {
			continue
		}
		seen[m[0]] = true
		s, _, ok := table.Lookup(m[1])
		off, err := strconv.ParseUint(m[2], 0, 64)
		if !ok || err != nil {
			t.Errorf("%s is not found: %v", m[0], err)
			continue
		}
		if got := k.SymbolName(s.Addr + off); got != m[0] {
			t.Errorf("named %s, in the guest %s", got, m[0])
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d names compared", len(seen))
	}
}

func TestEnds(t *testing.T) {
	k, table := attach(t)
	m := planted(t, table)
	end := m.Regions[0].Addr + m.Regions[0].Size
	if _, ok := table.At(end); ok {
		t.Error("the address behind the module is in a module")
	}
	if got := k.SymbolName(m.Base() - 1); strings.Contains(got, "[") {
		t.Errorf("the address before the module is %s", got)
	}
	if _, ok := table.At(end - 1); !ok {
		t.Error("the module's last byte is in no module")
	}
	if raw, err := table.Reader().BTF(m); err != nil || len(raw) < 1000 {
		t.Errorf("%d bytes of BTF: %v", len(raw), err)
	}
	if _, err := table.Reader().BTF(&module.Module{Name: "other"}); !errors.Is(err, module.ErrNoBTF) {
		t.Errorf("BTF of a module that is not there: %v", err)
	}
}
