package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel/arch/disasm"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// player is the thread of the guest that plays a role, by its name.
func player(t *testing.T, comm string) truth.Player {
	t.Helper()
	for _, p := range fixtures.Truth(t, "main").Plant.Players {
		if p.Comm == comm {
			return p
		}
	}
	t.Fatalf("no player is called %s", comm)
	return truth.Player{}
}

// bt runs "mortem bt" on the fixture.
func bt(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	line := []string{"bt", "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), fixtures.Path(t, kerneltest.Main)}
	return mortem(t, append(line, args...)...)
}

func TestBTOfATask(t *testing.T) {
	p := player(t, "mp/mutex.wait")
	for _, by := range [][]string{{fmt.Sprint(p.Tid)}, {p.Task}, {"0x" + p.Task}, {p.Comm}, {"--pid", fmt.Sprint(p.Tid)}, {"--comm", p.Comm, "--state", "D"}} {
		status, out, errs := bt(t, by...)
		if status != exitAnswered || errs != "" {
			t.Fatalf("%v: status %d, %s", by, status, errs)
		}
		want := fmt.Sprintf("PID: %-7d TASK: %s  CPU: ", p.Tid, p.Task)
		if !strings.HasPrefix(out, want) || strings.Count(out, "PID:") != 1 || !strings.Contains(out, `STATE: D  COMMAND: "mp/mutex.wait"`) {
			t.Errorf("%v: %s", by, out)
		}
		frame := regexp.MustCompile(`(?m)^ #\d+ \[[0-9a-f]{16}\] mp_mutex_wait\+0x[0-9a-f]+ \[mortem_plant\] at [0-9a-f]{16}$`)
		if !frame.MatchString(out) {
			t.Errorf("%v: no frame in mp_mutex_wait:\n%s", by, out)
		}
	}
}

// TestBTOfACPU: by name, by flag, and beside a task.
func TestBTOfACPU(t *testing.T) {
	_, want, _ := bt(t, "--cpu", "2")
	for _, name := range []string{"CPU2", "cpu2"} {
		if status, out, errs := bt(t, name); status != exitAnswered || errs != "" || out != want || !strings.Contains(out, "CPU: 2 ") {
			t.Errorf("%s: status %d, %s\n%s", name, status, errs, out)
		}
	}
	if status, out, errs := bt(t, "CPU2", "1"); status != exitAnswered || errs != "" || strings.Count(out, "PID: ") != 2 {
		t.Errorf("CPU2 and 1: status %d, %s\n%s", status, errs, out)
	}
	for _, name := range []string{"CPU77", "cpu", "cpu2x"} {
		if status, out, errs := bt(t, name); status != exitUsage || out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: status %d, %s", name, status, errs)
		}
	}
}

func TestBTShowsMore(t *testing.T) {
	p := player(t, "mp/mutex.wait")
	for flag, want := range map[string]string{
		"--locals":    "param struct mutex * lock = 0x" + p.Waits,
		"--lines":     "context_switch (inlined) at ",
		"--registers": "RBX: ",
		"--raw":       ": " + "0000000000000000",
		"--text":      "(scan, suspected)",
	} {
		status, out, errs := bt(t, flag, p.Comm)
		if status != exitAnswered || !strings.Contains(out, want) {
			t.Errorf("%s: status %d, no %q in\n%s%s", flag, status, want, out, errs)
		}
	}
}

// TestBTWithoutVmlinux takes what the dump holds itself.
func TestBTWithoutVmlinux(t *testing.T) {
	_, with, _ := bt(t, "--all")
	status, without, errs := mortem(t, "bt", "--all", fixtures.Path(t, kerneltest.Main))
	if status != exitAnswered || errs != "" {
		t.Fatalf("status %d, %s", status, errs)
	}
	if with != without {
		t.Error("the stacks differ from those with vmlinux")
	}
}

func TestBTAsJSON(t *testing.T) {
	status, out, _ := bt(t, "--json", "--unique", "--state", "SDI")
	var r stacks.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered {
		t.Fatalf("status %d, %v", status, err)
	}
	if len(r.Groups) < 10 || r.Groups[0].Count < 10 || r.Stacks != nil {
		t.Errorf("%d groups, %d stacks", len(r.Groups), len(r.Stacks))
	}
}

func TestBTRefuses(t *testing.T) {
	for _, args := range [][]string{{"nosuchtask"}, {"--all", "1"}, {"--all", "--running"}, {"--state", "Q"}, {"--limit", "-1"}, {"--pid", "99999"},
		{"--process", "99999"}, {"--cpu", "77"}, {"--comm", "nobody"}, {"--in", "no_such_function"}, {"ffff888000000123"}} {
		if status, _, errs := bt(t, args...); status != exitUsage || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: status %d, %s", args, status, errs)
		}
	}
}

func TestDis(t *testing.T) {
	vmlinux, dump := fixtures.Path(t, kerneltest.Vmlinux), fixtures.Path(t, kerneltest.Main)
	status, out, errs := mortem(t, "dis", "--vmlinux", vmlinux, "--lines", dump, "mutex_lock+9")
	if status != exitAnswered || errs != "" || !strings.Contains(out, "callq __cond_resched") ||
		!regexp.MustCompile(`(?m)^=>[0-9a-f]{16} <mutex_lock\+9>:`).MatchString(out) || !strings.Contains(out, "kernel/locking/mutex.c:") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	status, out, _ = mortem(t, "dis", "--vmlinux", vmlinux, "--json", dump, "mp_mutex_wait")
	var r disasm.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != exitAnswered || r.Module != "mortem_plant" || len(r.Instructions) < 5 {
		t.Errorf("status %d, %v, %+v", status, err, r)
	}
	if status, _, errs = mortem(t, "dis", "--vmlinux", vmlinux, dump, "no_such_function"); status != exitUsage || strings.Count(errs, "\n") != 1 {
		t.Errorf("status %d, %s", status, errs)
	}
}

// TestCodeOfModules prints source lines and locals of the fixture's module, whose
// file lies in a directory, and says what is missing without it or without vmlinux.
func TestCodeOfModules(t *testing.T) {
	p := player(t, "mp/mutex.wait")
	dir := fixtures.Dir(t)
	status, out, errs := bt(t, "--debug-dir", dir, "--locals", p.Comm)
	line := regexp.MustCompile(`(?m)^ +mp_mutex_wait at .*/mortem_plant\.c:(\d+)$`).FindStringSubmatch(out)
	if status != exitAnswered || errs != "" || line == nil || !strings.Contains(out, "local struct mp_player * p = 0x") {
		t.Fatalf("status %d\n%s%s", status, out, errs)
	}
	vmlinux, dump := fixtures.Path(t, kerneltest.Vmlinux), fixtures.Path(t, kerneltest.Main)
	_, out, errs = mortem(t, "dis", "--vmlinux", vmlinux, "--debug-dir", dir, "--lines", dump, "mp_mutex_wait")
	if !strings.Contains(out, "/mortem_plant.c:"+line[1]+"\n") || errs != "" {
		t.Errorf("no line %s in\n%s%s", line[1], out, errs)
	}

	_, out, errs = bt(t, "--locals", p.Comm)
	if strings.Contains(out, "mortem_plant.c") || !strings.Contains(errs, "no source lines in the dump itself (BTF of mortem_plant)") {
		t.Errorf("without the module's file:\n%s%s", out, errs)
	}
	_, out, errs = mortem(t, "bt", "--json", "--lines", dump, p.Comm)
	var r stacks.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Missing) != 2 || strings.Count(errs, "mortem: warning: no source lines in the dump itself") != 2 {
		t.Errorf("without vmlinux: %v, %q\n%s", err, r.Missing, errs)
	}
	_, _, errs = mortem(t, "dis", "--lines", dump, "mutex_lock")
	if strings.Count(errs, "no source lines in the dump itself") != 1 {
		t.Errorf("dis without vmlinux: %s", errs)
	}
}
