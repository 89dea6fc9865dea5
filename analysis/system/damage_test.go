package system_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/system"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestDamage: whatever is wrong with what the answer is made of, it comes, in time,
// and where a figure differs from that of the whole dump, or is missing, the page
// that it stands in was readable and wrong, or it is said to be unknown.
func TestDamage(t *testing.T) {
	file := fixtures.Path(t, kerneltest.Main)
	k := kerneltest.Kernel(t, file)
	whole := analyze(t, file)
	var at []uint64
	for _, name := range []string{"init_uts_ns", "saved_command_line", "avenrun", "tainted_mask", "node_data", "nr_node_ids", "_totalram_pages",
		"init_task", "panic_cpu", "tsc_khz", "prb", "printk_rb_static", "crash_notes", "__per_cpu_offset", "__cpu_online_mask", "init_pid_ns"} {
		if addr, err := k.Symbol(name); err == nil {
			at = append(at, addr)
		}
	}
	if len(at) < 10 {
		t.Fatalf("the fixture has %d of the variables", len(at))
	}
	for i := range whole.Running {
		at = append(at, uint64(whole.Running[i].Addr))
	}
	opened := 0
	for seed := range uint64(40) {
		d := kerneltest.Damage(t, k, at, 400, rand.New(rand.NewPCG(seed, 3)), 1+int(seed)*3)
		hurt, err := kernel.Open(d, kerneltest.Info(t), kernel.Options{})
		if err != nil {
			continue
		}
		opened++
		start := time.Now()
		r, err := system.Analyze(t.Context(), hurt)
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			continue
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("seed %d took %v", seed, took)
		}
		if r.Tasks < whole.Tasks && r.Coverage.Complete() && len(r.Unknown) == 0 {
			t.Errorf("seed %d: %d of %d tasks, and nothing is said to be missing", seed, r.Tasks, whole.Tasks)
		}
		if r.Uptime == nil && len(r.Unknown) == 0 {
			t.Errorf("seed %d: no uptime, and nothing is said to be unknown", seed)
		}
	}
	if opened < 20 {
		t.Errorf("%d of 40 damaged dumps were opened", opened)
	}
}

// TestExcluded: every page that the answer is made of is left out, one at a time.
// What is not known is said so, and the coverage counts it.
func TestExcluded(t *testing.T) {
	file := fixtures.Path(t, kerneltest.Main)
	k := kerneltest.Kernel(t, file)
	for _, c := range []struct {
		symbol string
		tell   func(*system.Report) bool // whether the figure is there
	}{
		{"avenrun", func(r *system.Report) bool { return len(r.Load) > 0 }},
		{"_totalram_pages", func(r *system.Report) bool { return r.Managed > 0 }},
		{"init_uts_ns", nil},
	} {
		addr, err := k.Symbol(c.symbol)
		if err != nil {
			t.Fatal(err)
		}
		hurt, err := without(t, k, addr)
		if err != nil {
			t.Logf("%s: %v", c.symbol, err) // what opening needs stands in the same page
			continue
		}
		r, err := system.Analyze(t.Context(), hurt)
		if err != nil {
			t.Errorf("%s: %v", c.symbol, err)
			continue
		}
		if r.Coverage.Complete() || c.tell != nil && c.tell(r) {
			t.Errorf("%s: coverage %+v, unknown %q", c.symbol, r.Coverage, r.Unknown)
		}
	}
}

// without opens the kernel without the page that an address lies in.
func without(t *testing.T, k *kernel.Kernel, addr uint64) (*kernel.Kernel, error) {
	o := kerneltest.OverlayOn(t, k)
	o.Exclude(addr)
	return kernel.Open(o, kerneltest.Info(t), kernel.Options{})
}
