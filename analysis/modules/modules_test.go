package modules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/modules"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestModulesAreTheGuests compares with the guest's /proc/modules: name, size,
// state, address and taints of each.
func TestModulesAreTheGuests(t *testing.T) {
	truth := fixtures.Truth(t, "main")
	r, err := modules.Analyze(kerneltest.MainFS(t).Kernel(), modules.Options{Sections: true})
	if err != nil || !r.Coverage.Complete() {
		t.Fatalf("%v, %+v", err, r)
	}
	lines := strings.Split(strings.TrimSpace(truth.Early["/proc/modules"]), "\n")
	if len(lines) != len(r.Modules) {
		t.Fatalf("%d modules; the guest has %d", len(r.Modules), len(lines))
	}
	for i, line := range lines {
		// name size references users state address (taints)
		f := strings.Fields(line)
		m := r.Modules[i]
		got := fmt.Sprintf("%s %d %s %#x (%s)", m.Name, m.Size, m.State, uint64(m.Base), m.Taints)
		if want := fmt.Sprintf("%s %s %s %s %s", f[0], f[1], f[4], f[5], f[6]); got != want {
			t.Errorf("%s; the guest says %s", got, want)
		}
		if len(m.Sections) == 0 || len(m.Regions) == 0 {
			t.Errorf("%s has no sections or regions: %+v", m.Name, m)
		}
	}
}

func ExampleAnalyze() {
	report, err := modules.Analyze(kerneltest.ExampleKernel(), modules.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range report.Modules {
		fmt.Println(m.Name, m.State)
	}
	// Output: mortem_plant Live
}
