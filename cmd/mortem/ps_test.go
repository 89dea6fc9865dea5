package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/tasks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// ps runs the command on the main boot's dump.
func ps(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	base := []string{"ps", "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), fixtures.Path(t, kerneltest.Main)}
	return mortem(t, append(base, args...)...)
}

func TestPS(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	for _, c := range []struct {
		args []string
		says []string
	}{
		{nil, []string{"[kthreadd]", "  ZO ", "[swapper/0]", "  ID "}},
		{[]string{"--state", "zombie", "--long"}, []string{"zombie, exit status 3"}},
		{[]string{"--long", "fifo"}, []string{"FIFO", "real-time priority 42"}},
		{[]string{"--long", "cg-frozen"}, []string{"sleeping, frozen", "/mortem/frozen", "not in the dump"}},
		{[]string{"--long", "user1000"}, []string{"user 1000/1000/1000/1000"}},
		{[]string{"--files", fmt.Sprint(guest.Planted["hog"].Pid)}, []string{"pipe:["}},
		{[]string{"--mounts", "1"}, []string{"mount 19     /dev/vda on /mnt type ext4 (rw,relatime)", "/dev/vda from /data on /run/bind type ext4"}},
		{[]string{"--runq"}, []string{"CPU 0  RUNQUEUE", "[139]     ", "/mortem/throttled", "1ms in each 1s: THROTTLED"}},
		{[]string{"--kernel", "--state", "Z"}, []string{"none of"}},
		{[]string{"-p", "zombie"}, []string{"[swapper/0]", "  init\n", "  ZO "}},
		{[]string{"--children", "2"}, []string{"[kthreadd]", "[kswapd0]"}},
		{[]string{"-l", "nice"}, []string{"policy       NORMAL, priority 139, nice 19\n"}},
	} {
		status, out, errs := ps(t, c.args...)
		if status != exitAnswered || errs != "" {
			t.Errorf("%v: status %d, %s", c.args, status, errs)
		}
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("%v does not say %q:\n%s", c.args, want, out)
			}
		}
	}
}

func TestPSUsage(t *testing.T) {
	for _, args := range [][]string{{"--state", "Q"}, {"--sort", "beauty"}, {"--kernel", "--user"}, {"no-such-task"}, {"--pid", "99999"}, {"--cpu", "77"}, {"--cpu", "-1"}, {"--comm", "nobody"}, {"--cpu", "x"},
		{"--runq", "--state", "D"}, {"--runq", "1"}, {"--runq", "--long"}, {"--runq", "--cpu", "77"}} {
		if status, _, errs := ps(t, args...); status != exitUsage || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: status %d, %q", args, status, errs)
		}
	}
}

// TestRunqOfOneCPU: --cpu leaves that processor's queues.
func TestRunqOfOneCPU(t *testing.T) {
	status, out, errs := ps(t, "--runq", "--cpu", "2")
	if status != exitAnswered || errs != "" || !strings.HasPrefix(out, "CPU 2  RUNQUEUE ") || regexp.MustCompile(`(?m)^ *CPU [013]  `).MatchString(out) ||
		!strings.Contains(out, "GROUP ") {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
}

// TestPSJSON: everything is in it.
func TestPSJSON(t *testing.T) {
	status, out, errs := ps(t, "--json", "threads")
	var r tasks.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || errs != "" {
		t.Fatalf("status %d, %v, %s", status, err, errs)
	}
	if len(r.Tasks) != 1 || len(r.Queues) == 0 || len(r.Groups) == 0 {
		t.Fatalf("%d tasks, %d queues, %d groups", len(r.Tasks), len(r.Queues), len(r.Groups))
	}
	if k := r.Tasks[0]; k.Sched == nil || k.Identity == nil || k.Place == nil || k.Program == nil || len(k.Files) == 0 || k.Memory == nil || k.Signals == nil {
		t.Errorf("%+v", k)
	}
}
