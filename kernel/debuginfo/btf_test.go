package debuginfo_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/debuginfo/btf"
)

func fromBTF(t testing.TB, path string) debuginfo.Source {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	types, err := btf.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return debuginfo.FromBTF(types, path)
}

// TestFactsOfBTF leaves out the arrays of several dimensions, for pahole makes
// them arrays of one when it turns DWARF into BTF.
func TestFactsOfBTF(t *testing.T) {
	src := fromBTF(t, "testdata/built/types.btf")
	text, err := os.ReadFile("testdata/built/facts.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "matrix[") {
			continue
		}
		if err := checkFact(src, strings.TrimSpace(line)); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestBTFPrints compares BTF's types, as C, with those of DWARF from which
// they were made.
func TestBTFPrints(t *testing.T) {
	fromDWARF, err := debuginfo.Open("testdata/built/gcc-dwarf5.elf")
	if err != nil {
		t.Fatal(err)
	}
	defer fromDWARF.Close()
	src := fromBTF(t, "testdata/built/types.btf")
	for _, name := range []string{"struct list_head", "struct bits", "struct packed_bits", "struct anonymous", "struct op",
		"struct holes", "struct everything", "struct later", "struct opaque", "atomic_t", "u64", "enum colour", "enum signedness", "enum wide"} {
		want, got := printed(t, fromDWARF, name), printed(t, src, name)
		if got != want {
			t.Errorf("%s from BTF:\n%s\nfrom DWARF:\n%s", name, got, want)
		}
	}
}

func printed(t *testing.T, src debuginfo.Source, name string) string {
	t.Helper()
	typ, err := src.Type(name)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := ctype.Print(&out, typ, ctype.PrintOptions{}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestPaholeAgreesOnBTF runs pahole, where it is installed, on the BTF file
// that the environment names, such as /sys/kernel/btf/vmlinux.
func TestPaholeAgreesOnBTF(t *testing.T) {
	path := os.Getenv("MORTEM_TEST_BTF")
	if path == "" {
		t.Skip("compares with pahole on the file that MORTEM_TEST_BTF names, such as /sys/kernel/btf/vmlinux")
	}
	if _, err := exec.LookPath("pahole"); err != nil {
		t.Skip("pahole, which is compared with, is not installed")
	}
	out, err := exec.Command("pahole", "-F", "btf", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	comparePahole(t, fromBTF(t, path), strings.NewReader(string(out)))
}
