package census_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/census"
	"github.com/kmortem/mortem/fixtures/synthetic"
)

var scale = flag.Bool("scale", false, "count 10 million dentries, and look at the memory that it takes")

// TestMemory: a census of 10 million dentries takes less than 300 MB of memory, the
// machine that is computed meanwhile included:
//
//	go test -run Memory -v ./analysis/census -scale
func TestMemory(t *testing.T) {
	if !*scale {
		t.Skip("takes minutes: run with -scale")
	}
	const n = 10_000_000
	c, fs := case2(t, synthetic.EL6(), n)
	r := dentries(t, fs, census.Options{})
	if r.Dentries.Total != uint64(n+c.InUse) || r.Directories[0].Negative != n {
		t.Errorf("%+v", r.Dentries)
	}
	peak := peakMemory(t)
	t.Logf("%d dentries: %d MB", n, peak>>20)
	if peak > 300<<20 {
		t.Errorf("%d MB", peak>>20)
	}
}

// peakMemory is how much of the process was in memory at most (VmHWM).
func peakMemory(t *testing.T) uint64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Skipf("this system does not tell the peak of a process's memory: %v", err)
	}
	defer func() { _ = f.Close() }() // opened for reading only
	for s := bufio.NewScanner(f); s.Scan(); {
		if text, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			var kb uint64
			if _, err := fmt.Sscan(text, &kb); err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Skip("this system does not tell the peak of a process's memory: no VmHWM in /proc/self/status")
	return 0
}
