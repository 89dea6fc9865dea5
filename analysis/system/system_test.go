package system_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/system"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func analyze(t *testing.T, file string) *system.Report {
	t.Helper()
	r, err := system.Analyze(t.Context(), kerneltest.Kernel(t, file))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Coverage.Complete() || len(r.Unknown) > 0 {
		t.Errorf("coverage %+v, unknown %q", r.Coverage, r.Unknown)
	}
	return r
}

// checkGuest compares with what the guest knew last.
func checkGuest(t *testing.T, r *system.Report, guest *truth.Truth) {
	t.Helper()
	for what, pair := range map[string][2]string{
		"release":      {r.Release, guest.Uname["release"]},
		"version":      {r.Version, guest.Uname["version"]},
		"machine":      {r.Machine, guest.Uname["machine"]},
		"node name":    {r.Nodename, guest.Uname["nodename"]},
		"command line": {r.CommandLine, guest.Cmdline},
		"CPUs":         {fmt.Sprint(r.CPUs), fmt.Sprint(guest.CPUs)},
		"tainted":      {fmt.Sprint(r.Tainted), strings.TrimSpace(guest.Late["/proc/sys/kernel/tainted"])},
		"memory":       {fmt.Sprintf("%d kB", r.Managed>>10), memTotal(guest)},
	} {
		if pair[0] != pair[1] || pair[0] == "" {
			t.Errorf("%s is %q, the guest says %q", what, pair[0], pair[1])
		}
	}
	const slack = 10 // s from the last facts to the dump
	if r.Date == nil || math.Abs(float64(r.Date.UnixMilli())/1000-guest.Time) > slack {
		t.Errorf("the date is %v, the guest says %f", r.Date, guest.Time)
	}
	var up float64
	if _, err := fmt.Sscan(guest.Late["/proc/uptime"], &up); err != nil {
		t.Fatal(err)
	}
	if r.Uptime == nil || math.Abs(float64(*r.Uptime)/1e9-up) > slack {
		t.Errorf("up for %v, the guest says %f", r.Uptime, up)
	}
	if r.Present < r.Managed || r.Present > r.Managed*3 { // a crash kernel's share is not managed
		t.Errorf("%d bytes of memory, %d of them managed", r.Present, r.Managed)
	}
}

func memTotal(guest *truth.Truth) string {
	f := strings.Fields(guest.Late["/proc/meminfo"])
	return f[1] + " " + f[2]
}

// TestMainBoot compares the boot in which everything was planted.
func TestMainBoot(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	r := analyze(t, fixtures.Path(t, kerneltest.Main))
	checkGuest(t, r, guest)
	var load [3]float64
	if _, err := fmt.Sscan(guest.Late["/proc/loadavg"], &load[0], &load[1], &load[2]); err != nil {
		t.Fatal(err)
	}
	if len(r.Load) != 3 || math.Abs(r.Load[2]-load[2]) > 0.3 { // it is taken anew each 5 s
		t.Errorf("load %v, the guest says %v", r.Load, load)
	}
	n := uint64(0)
	for _, s := range r.States {
		n += s.Count
	}
	if n != r.Tasks || len(r.Running) != guest.CPUs || r.PanicTask != nil || r.Panic == nil || r.Panic.Fatal {
		t.Errorf("%d tasks in %d states, %d running, panic %+v of %+v", r.Tasks, n, len(r.Running), r.Panic, r.PanicTask)
	}
	if len(r.Taints) != 2 || r.Taints[0].Letter != "O" || r.Taints[1].Letter != "L" {
		t.Errorf("%+v", r.Taints)
	}
}

// TestKdump: the task that panicked is the one that wrote to sysrq-trigger.
func TestKdump(t *testing.T) {
	r := analyze(t, fixtures.Unpacked(t, "kdump/vmcore.kdump"))
	checkGuest(t, r, fixtures.Truth(t, "kdump"))
	if r.PanicTask == nil || r.PanicTask.State != "running" || r.Panic == nil || !r.Panic.Fatal || len(r.Log) < 5 {
		t.Errorf("panic %+v of %+v, %d messages", r.Panic, r.PanicTask, len(r.Log))
	}
}

func ExampleAnalyze() {
	k := kerneltest.ExampleKernel() // as kernel.Open does
	r, err := system.Analyze(context.Background(), k)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Nodename, r.Machine, r.CPUs)
	for _, t := range r.Taints {
		fmt.Println(t.Letter, t.Meaning)
	}
	// Output:
	// mortem-guest x86_64 4
	// O a module built outside of the kernel's tree was loaded
	// L there was a soft lockup before
}
