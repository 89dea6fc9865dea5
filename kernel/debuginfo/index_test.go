package debuginfo_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kmortem/mortem/kernel/debuginfo"
)

// The second opening reads index files, and NoCache leaves none behind.
func TestIndexFiles(t *testing.T) {
	for _, path := range built(t) {
		cache := t.TempDir()
		for range 3 {
			src := open(t, path, debuginfo.CacheDir(cache))
			checkFacts(t, src)
		}
	}
	cache := t.TempDir()
	checkFacts(t, open(t, "testdata/built/gcc-dwarf5.elf", debuginfo.CacheDir(cache), debuginfo.NoCache()))
	if left, _ := os.ReadDir(cache); len(left) > 0 {
		t.Errorf("NoCache left %v", left)
	}
}

// A cache that cannot be written does no harm.
func TestReadOnlyCache(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	checkFacts(t, open(t, "testdata/built/gcc-dwarf5.elf", debuginfo.CacheDir(file)))
}
