package debuginfo_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/debuginfo"
)

// TestPackageOfSplitDWARF: where .dwo files are missing and a .dwp file is there,
// the error about a missing type names it.
func TestPackageOfSplitDWARF(t *testing.T) {
	program, err := os.ReadFile("testdata/built/split5.elf")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "split")
	for name, data := range map[string][]byte{path: program, path + ".dwp": nil} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src, err := debuginfo.Open(path, debuginfo.NoCache())
	if err == nil {
		defer src.Close()
		_, err = src.Type("struct everything")
	}
	if err == nil || !strings.Contains(err.Error(), ".dwp") {
		t.Errorf("nothing is said about the package: %v", err)
	}
}

// TestModuleWithBTFOnly takes the DWARF from the fixture's module: the error says
// that its BTF alone is of no use.
func TestModuleWithBTFOnly(t *testing.T) {
	module, err := os.ReadFile(fixtures.Unpacked(t, "mortem_plant.ko"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "module.ko")
	if err := os.WriteFile(path, bytes.ReplaceAll(module, []byte(".debug_info"), []byte(".other_info")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := debuginfo.Open(path, debuginfo.NoCache()); err == nil || !strings.Contains(err.Error(), "BTF of a module") {
		t.Errorf("opening it: %v", err)
	}
}
