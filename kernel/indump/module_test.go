package indump_test

import (
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/module"
)

// TestModuleTypes reads the types of the module mortem_plant. Its structs have
// the sizes that the guest told of their slab caches, which are named after them.
func TestModuleTypes(t *testing.T) {
	k, src := open(t)
	r, err := module.New(k)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for m, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		types, err := src.Module(r, m)
		if err != nil {
			t.Fatal(err)
		}
		for _, cache := range fixtures.Truth(t, "main").Plant.Caches {
			name := strings.Replace(cache.Alias, "mortem_", "struct mp_", 1)
			c, err := types.Type(name)
			if err != nil {
				continue // an object without a type
			}
			n++
			if c.Size() != int64(cache.ObjectSize) {
				t.Errorf("%s has %d bytes, the guest's cache has %d", name, c.Size(), cache.ObjectSize)
			}
		}
		checkModuleTypes(t, types, m)
		compareWithFile(t, types)
	}
	if n < 3 {
		t.Errorf("only %d structs compared", n)
	}
}

func checkModuleTypes(t *testing.T, types debuginfo.Source, m *module.Module) {
	t.Helper()
	leak, err := types.Type("struct mp_leak")
	if err != nil {
		t.Fatal(err)
	}
	if f, err := leak.Field("list.next"); err != nil || f.Type.String() != "struct list_head *" {
		t.Errorf("a member whose type is the kernel's: %v %v", f.Type, err)
	}
	if _, err := types.Type("struct mp_none"); err == nil || !strings.Contains(err.Error(), m.Name) {
		t.Errorf("a type that is not there: %v", err)
	}
	if f, err := types.Function("mp_park"); err != nil || f.String() != "void (void)" {
		t.Errorf("mp_park: %v %v", f, err)
	}
}

// compareWithFile compares types of the module and of the kernel, as they
// appear in its BTF, with the DWARF of the module's file.
func compareWithFile(t *testing.T, types debuginfo.Source) {
	t.Helper()
	ko, err := debuginfo.Open(fixtures.Path(t, "mortem_plant.ko.xz"))
	if err != nil {
		t.Fatal(err)
	}
	defer ko.Close()
	for _, name := range []string{"struct mp_widget", "struct mp_leak", "struct mp_player", "struct mp_ops",
		"struct mp_role", "struct ww_class", "struct dentry", "struct task_struct"} {
		got, err := types.Type(name)
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := ko.Type(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if shape(got) != shape(want) {
			t.Errorf("%s in BTF:\n%s\nin DWARF:\n%s", name, shape(got), shape(want))
		}
	}
}
