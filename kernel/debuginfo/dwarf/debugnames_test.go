package dwarf

import (
	"bytes"
	"slices"
	"testing"

	"github.com/kmortem/mortem/kernel/ctype"
)

// clangNames is a program whose .debug_names clang wrote.
const clangNames = "../testdata/built/clang-dwarf5.elf"

// scanned is what a scan finds, without .debug_names.
func scanned(t testing.TB, s Sections) *Data {
	t.Helper()
	s.Names = nil
	d, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// From .debug_names come the same answers as from a scan, and without one for what
// is in it: definitions that have a place in memory, and types.
func TestDebugNames(t *testing.T) {
	s := sectionsOf(t, clangNames)
	want := scanned(t, s)
	d, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	listed, ok := d.names.(*debugNames)
	if !ok {
		t.Fatalf("the names are a %T", d.names)
	}
	defined := 0
	for e := range want.names.all() {
		name := want.nameOf(e)
		if _, ok := listed.listed(e.kind, name); !ok && e.kind >= kindVariable {
			continue // a function without code of its own, or a variable without a place
		} else if e.quality == declaration {
			continue
		}
		defined++
		if got, ok := listed.lookup(e.kind, name); !ok || got.die != e.die || got.quality != e.quality {
			t.Errorf("%s: %+v became %+v", name, e, got)
		}
	}
	if listed.scan.Load() != nil || defined < 30 {
		t.Errorf("%d definitions, and a scan was made for them: %v", defined, listed.scan.Load() != nil)
	}
	if _, ok := listed.lookup(kindStruct, "opaque"); listed.scan.Load() == nil || !ok {
		t.Errorf("what is only declared is found by a scan: %v", ok)
	}
	if _, ok := listed.lookup(kindStruct, "nowhere"); ok {
		t.Error("struct nowhere is found")
	}
	if d.Names() != want.Names() {
		t.Errorf("%d names, a scan finds %d", d.Names(), want.Names())
	}
}

// Types inside of functions are in .debug_names too, and are not to be found.
func TestDebugNamesLeavesOutLocals(t *testing.T) {
	s := sectionsOf(t, clangNames)
	d, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := scanned(t, s)
	listed := d.names.(*debugNames)
	inside := 0
	for i := range listed.tables {
		table := &listed.tables[i]
		for j := range len(table.hashes) / 4 {
			name := string(stringAt(s.Str, table.offset(table.strings, j)))
			for kind := kindStruct; kind < kindEnumerator; kind++ {
				places, err := table.find(d, kind, name, nil, &listed.work)
				if err != nil {
					t.Fatal(err)
				}
				_, top := want.names.lookup(kind, name)
				if len(places) > 0 && !top {
					inside++
				}
				if _, ok := d.names.lookup(kind, name); ok != top {
					t.Errorf("%s is found: %v, by a scan: %v", name, ok, top)
				}
			}
		}
	}
	if inside == 0 {
		t.Error("no name inside of a function is in the index")
	}
}

// An index that lacks a unit, or whose hashes are wrong, is not taken.
func TestDebugNamesNotTrusted(t *testing.T) {
	whole := sectionsOf(t, clangNames)
	c := cursor{data: whole.Names}
	first, err := readNameIndex(&c)
	if err != nil || c.off == len(whole.Names) {
		t.Fatalf("%v, one contribution of %d bytes", err, c.off)
	}
	wrong := slices.Clone(whole.Names)
	wrong[bytes.Index(wrong, first.hashes)] ^= 1
	for name, names := range map[string][]byte{
		"without a unit": whole.Names[:c.off], "twice": slices.Concat(whole.Names, whole.Names), "wrong hash": wrong,
		"cut": whole.Names[:len(whole.Names)-3], "nothing": nil,
	} {
		s := whole
		s.Names = names
		d, err := New(s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, taken := d.names.(*debugNames); taken {
			t.Errorf("%s: it is trusted", name)
		}
	}
}

// Whatever byte of the index is wrong, a name that is found is found where one of
// that name is defined, and none is lost.
func TestDebugNamesDamaged(t *testing.T) {
	s := sectionsOf(t, clangNames)
	want := scanned(t, s)
	all := slices.Collect(want.names.all())
	whole := s.Names
	for i := range whole {
		if testing.Short() && i%7 != 0 {
			continue
		}
		s.Names = slices.Clone(whole)
		s.Names[i] ^= byte(1 << (i % 8))
		d, err := New(s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			name := want.nameOf(e)
			got, ok := d.names.lookup(e.kind, name)
			if !ok || d.nameOf(got) != name || got.kind != e.kind {
				t.Fatalf("byte %#x: %s is %+v, was %+v", i, name, got, e)
			}
		}
	}
}

// The names are found by Type and listed, too.
func TestDebugNamesByType(t *testing.T) {
	s := sectionsOf(t, clangNames)
	d, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if typ := d.Type(ctype.Struct, "everything"); typ == nil || typ.Size() != scanned(t, s).Type(ctype.Struct, "everything").Size() {
		t.Errorf("struct everything is %v", typ)
	}
	store := memoryStore{}
	if d, err = New(s, Options{Store: store}); err != nil || d.Type(ctype.Struct, "everything") == nil || len(store) != 0 {
		t.Errorf("%v, %d indexes are kept without a scan", err, len(store))
	}
	if d.Type(ctype.Struct, "nowhere") != nil || len(store) != 1 {
		t.Errorf("%d indexes are kept after a scan", len(store))
	}
}
