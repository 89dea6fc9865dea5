package module_test

import (
	"path/filepath"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/module"
)

// TestCodeOfModules finds for every symbol that the kernel keeps of the fixture's
// module the same one in the module's file, by its address there, and back; from
// the file and from a pack.
func TestCodeOfModules(t *testing.T) {
	file := open(t, fixtures.Path(t, "mortem_plant.ko.xz"))
	packed := filepath.Join(t.TempDir(), "module.mpack")
	if err := debuginfo.WritePack(packed, file, []debuginfo.Module{{Name: plant, Source: file}}); err != nil {
		t.Fatal(err)
	}
	pack, err := open(t, packed).(debuginfo.HasModules).Module(plant)
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]debuginfo.Source{"file": file, "pack": pack} {
		t.Run(name, func(t *testing.T) {
			k, table := attach(t)
			module.AttachTypes(k, table, only(plant, source))
			compareCode(t, k, table, source)
		})
	}
}

// only gives one module debug information.
func only(name string, source debuginfo.Source) func(*module.Module) (debuginfo.Source, error) {
	return func(m *module.Module) (debuginfo.Source, error) {
		if m.Name != name {
			return nil, debuginfo.ErrNotFound
		}
		return source, nil
	}
}

func compareCode(t *testing.T, k *kernel.Kernel, table *module.Table, source debuginfo.Source) {
	t.Helper()
	m := planted(t, table)
	list, err := table.Reader().Symbols(m)
	if err != nil {
		t.Fatal(err)
	}
	inFile := map[uint64]map[string]bool{}
	for s := range source.Symbols().All() {
		if inFile[s.Addr] == nil {
			inFile[s.Addr] = map[string]bool{}
		}
		inFile[s.Addr][s.Name] = true
	}
	compared := 0
	for _, s := range list {
		if _, there := m.Region(s.Addr); !there {
			continue
		}
		code, ok := k.CodeAt(s.Addr)
		if !ok || code.Info != source {
			t.Fatalf("%s at %#x: no code", s.Name, s.Addr)
		}
		link, ok := code.Link(s.Addr)
		if !ok || !inFile[link][s.Name] {
			t.Errorf("%s at %#x is at %#x in the file, which has %v there", s.Name, s.Addr, link, inFile[link])
		}
		if back, ok := code.Runtime(link); !ok || back != s.Addr {
			t.Errorf("%s at %#x is at %#x in the file, and that at %#x", s.Name, s.Addr, link, back)
		}
		compared++
	}
	if compared < 100 {
		t.Errorf("%d symbols were compared", compared)
	}
}

// TestSectionsBySymbol finds the sections of the fixture's module as if the kernel
// had not noted them: all those with a symbol of a name of its own are where the
// kernel says.
func TestSectionsBySymbol(t *testing.T) {
	_, table := attach(t)
	m := planted(t, table)
	source := open(t, fixtures.Path(t, "mortem_plant.ko.xz"))
	sections, err := table.Reader().Sections(m)
	if err != nil {
		t.Fatal(err)
	}
	noted := map[string]uint64{}
	for _, s := range sections {
		noted[s.Name] = s.Addr
	}
	loaded := source.(debuginfo.Sections).Loaded()
	found := table.SectionsBySymbol(m, loaded, source.Symbols())
	seen := map[string]bool{}
	for _, s := range loaded {
		if addr, ok := found[s.Addr]; ok {
			seen[s.Name] = true
			if addr != noted[s.Name] && s.Name != ".data..percpu" { // which has a place on each CPU
				t.Errorf("%s is found at %#x, the kernel says %#x", s.Name, addr, noted[s.Name])
			}
		}
	}
	for _, name := range []string{".text", ".data", ".rodata", ".bss"} {
		if !seen[name] {
			t.Errorf("%s is not found", name)
		}
	}
}

func open(t *testing.T, path string) debuginfo.Source {
	t.Helper()
	source, err := debuginfo.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	return source
}
