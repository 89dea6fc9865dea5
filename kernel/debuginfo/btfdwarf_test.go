package debuginfo_test

import (
	"slices"
	"testing"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/debuginfo/btf"
)

// Where vmlinux has the contents of .BTF, which the fixture's separated debug
// file has not, each struct in it has the size and the members that DWARF has:
// those of the struct that stands for its name, or of another of that name.
func TestBTFAgreesWithDWARF(t *testing.T) {
	src := open(t, vmlinux(t))
	raw, _, err := src.(debuginfo.Sections).Section(".BTF")
	if err != nil || raw == nil {
		t.Skipf("this vmlinux has no .BTF (%v); one that has is named by MORTEM_TEST_VMLINUX, see testdata/fetch-debian, and kernel/indump compares the BTF in the dump", err)
	}
	types, err := btf.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	n, bad := 0, 0
	for b := range types.All() {
		if b.Kind != ctype.Struct && b.Kind != ctype.Union || b.Incomplete {
			continue
		}
		n++
		d, err := src.Type(b.Kind.Keyword() + " " + b.Name)
		if err == nil && sameLayout(b, d) {
			continue
		}
		others, _ := src.(debuginfo.Ambiguous).AllTypes(b.Kind.Keyword() + " " + b.Name)
		if !slices.ContainsFunc(others, func(o *ctype.Type) bool { return sameLayout(b, o) }) {
			if bad++; bad < 10 {
				t.Errorf("%s of %d bytes in BTF is unlike %d of DWARF (%v)", b, b.Bytes, len(others), err)
			}
		}
	}
	t.Logf("%d structs and unions, %d differ", n, bad)
}

func sameLayout(a, b *ctype.Type) bool {
	x, y := layoutOf(a), layoutOf(b)
	return x.size == y.size && slices.Equal(x.members, y.members)
}
