package info_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/info"
	"github.com/kmortem/mortem/fixtures"
)

// TestPagesBesideMakedumpfile compares the counts of pages with what makedumpfile 1.7.2
// reported when it filtered the memory of the same boot (makedumpfile
// --message-level 31 -c -d 31 vmcore.fixed.elf, to be recorded again after a new
// capture). To makedumpfile pages of zeros are excluded, although the dump has them.
func TestPagesBesideMakedumpfile(t *testing.T) {
	text, err := os.ReadFile("testdata/main-makedumpfile.txt")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		name, number, _ := strings.Cut(line, ":")
		n, err := strconv.ParseUint(strings.TrimSpace(number), 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		said[strings.TrimSpace(name)] = n
	}
	zero, all := said["Pages filled with zero"], said["Original pages"]+said["Memory Hole"] // which wraps
	p := analyze(t, fixtures.Path(t, "main/vmcore.kdump"), info.Options{}).Pages
	if p.Zero != zero || p.Excluded != said["Excluded pages"]-zero || p.Present+p.Excluded != all || p.Missing+p.Damaged > 0 {
		t.Errorf("%+v, makedumpfile has %v", p, said)
	}
	kinds := said["Non-private cache pages"] + said["Private cache pages"] + said["User process data pages"] + said["Free pages"]
	if zero == 0 || p.Excluded != kinds {
		t.Errorf("%d pages are excluded, makedumpfile has %d", p.Excluded, kinds)
	}
}
