package dwarf

import (
	"slices"
	"testing"
)

// Whatever a byte of the forms of entries is changed to, every name is found where
// one of that name is defined.
func TestDebugNamesForms(t *testing.T) {
	s := sectionsOf(t, clangNames)
	want := scanned(t, s)
	all := slices.Collect(want.names.all())
	whole := s.Names
	for _, at := range formsOf(t, whole) {
		for value := range 0x30 { // the standard's forms, and ends of lists
			if testing.Short() && (at+value)%8 != 0 {
				continue
			}
			s.Names = slices.Clone(whole)
			s.Names[at] = byte(value)
			d, err := New(s, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range all {
				if got, ok := d.names.lookup(e.kind, want.nameOf(e)); !ok || d.nameOf(got) != want.nameOf(e) {
					t.Fatalf("byte %#x is %#x: %s is %+v, was %+v", at, value, want.nameOf(e), got, e)
				}
			}
		}
	}
}

// Looking up by the index never reads much more than a scan would, however often a
// program asks: a unit can be gigabytes, and its index lead to the last DIE of it.
func TestDebugNamesWork(t *testing.T) {
	s := sectionsOf(t, clangNames)
	d, err := New(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	listed := d.names.(*debugNames)
	want, _ := scanned(t, s).names.lookup(kindStruct, "everything")
	n := 0
	for listed.scan.Load() == nil {
		if got, ok := listed.lookup(kindStruct, "everything"); !ok || got.die != want.die {
			t.Fatalf("lookup %d: %+v, want %+v", n, got, want)
		}
		if n++; n > len(s.Info)+1<<20 {
			t.Fatalf("%d lookups without a scan", n)
		}
	}
	if n < 100 {
		t.Errorf("a scan after %d lookups", n)
	}
}

// formsOf finds the bytes of the abbreviations of the first contribution.
func formsOf(t *testing.T, names []byte) []int {
	t.Helper()
	c := cursor{data: names}
	length := c.u32()
	body := cursor{data: names[:c.off+int(length)], off: c.off + 4}
	counts := make([]uint32, 7) // units, type units, foreign ones, buckets, names, bytes of abbreviations, of augmentation
	for i := range counts {
		counts[i] = body.u32()
	}
	body.skip(uint64(counts[6]+3) &^ 3)
	body.skip(4 * uint64(counts[0]+counts[1]))
	body.skip(4 * uint64(counts[3]+counts[4]))
	body.skip(8 * uint64(counts[4]))
	if body.bad || counts[5] == 0 {
		t.Fatalf("the contribution has no abbreviations: %v", counts)
	}
	list := make([]int, counts[5])
	for i := range list {
		list[i] = body.off + i
	}
	return list
}
