package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

// TestBTByPattern: names of tasks and functions can be patterns.
func TestBTByPattern(t *testing.T) {
	planted := 0
	for _, p := range fixtures.Truth(t, "main").Plant.Players {
		if strings.HasPrefix(p.Comm, "mp/") && strings.HasSuffix(p.Comm, ".wait") {
			planted++
		}
	}
	for _, args := range [][]string{{"mp/*.wait"}, {"--comm", "mp/*.wait"}} {
		status, out, errs := bt(t, args...)
		found := regexp.MustCompile(`(?m)^PID: .*COMMAND: "mp/[^"]*\.wait"`).FindAllString(out, -1)
		if status != exitAnswered || errs != "" || len(found) != planted || strings.Count(out, "PID: ") != planted {
			t.Errorf("%v: status %d, %s, %d tasks of %d", args, status, errs, len(found), planted)
		}
	}
	const blind = "mortem: warning: functions inlined into others are not found in mortem_plant: that needs DWARF\n"
	all := func(in string) int {
		status, out, errs := bt(t, "--in", in)
		if status != exitAnswered || errs != blind {
			t.Errorf("--in %s: status %d, %s", in, status, errs)
		}
		return strings.Count(out, "PID: ")
	}
	if one, both, many := all("mp_spin_wait"), all("mp_spin_wai?,mp_spin_hold"), all("mp_spin_*"); one != 2 || both != 3 || many != both {
		t.Errorf("%d tasks in mp_spin_wait, %d in mp_spin_hold too, %d in mp_spin_*", one, both, many)
	}
}

// TestBTInInlined: a function that was inlined wherever it is called; the frame that it
// was inlined into tells so.
func TestBTInInlined(t *testing.T) {
	p := player(t, "mp/mutex.wait")
	status, out, _ := bt(t, "--in", "__mutex_lock_common")
	tasks := strings.Count(out, "PID: ")
	marked := strings.Count(out, "        __mutex_lock_common (inlined) at /")
	if status != exitAnswered || tasks == 0 || marked != tasks || strings.Count(out, "(inlined)") != tasks || !strings.Contains(out, fmt.Sprintf("PID: %-7d ", p.Tid)) {
		t.Errorf("status %d, %d of %d tasks are marked, or %d is not among them:\n%s", status, marked, tasks, p.Tid, out)
	}
	if status, out, errs := mortem(t, "bt", "--in", "__mutex_lock_common", fixtures.Path(t, kerneltest.Main)); status != exitUsage || !strings.Contains(errs, "or it was inlined everywhere, which only DWARF tells") {
		t.Errorf("without DWARF: status %d\n%s%s", status, out, errs)
	}
}

// TestBTOfWords: what users of crash know as bt -f, -F and -e.
func TestBTOfWords(t *testing.T) {
	dump, vmlinux := fixtures.Unpacked(t, "kdump/vmcore.kdump"), fixtures.Path(t, kerneltest.Vmlinux)
	for _, with := range []struct {
		flags []string
		want  string
		not   string
	}{
		{[]string{"-f"}, `(?m)^    [0-9a-f]{16}: [0-9a-f]{16} [0-9a-f]{16}$`, "filp"},
		{[]string{"--data", "-p"}, `(?m)^    [0-9a-f]{16}: [0-9a-f]{16} panic\+0x[0-9a-f/x]+$`, "filp"},
		{[]string{"-F"}, `(?m)^    [0-9a-f]{16}: [0-9a-f]{16} \[filp\]$`, "EXCEPTION FRAME"},
		{[]string{"-F"}, `(?m)^    [0-9a-f]{16}: [0-9a-f]{16} sysrq_crash_op$`, "EXCEPTION FRAME"},
		{[]string{"-rF"}, `(?m)^ +SS: .*\n(?:    [0-9a-f]{16}: .*\n)+    [0-9a-f]{16}: [0-9a-f]{16} \[filp\]$`, "EXCEPTION FRAME"},
		{[]string{"-r"}, `(?m)^    [0-9a-f]{16}: [0-9a-f]{16}$`, "filp"},
		{[]string{"-e"}, `(?m)^  USER-MODE EXCEPTION FRAME AT: [0-9a-f]{16}\n +R15: `, " #0 ["},
		{[]string{"-e", "-c1"}, `(?m)^  KERNEL-MODE EXCEPTION FRAME AT: [0-9a-f]{16} on the NMI stack  \(the frames do not lead through it\)\n    \[exception RIP: mp_spin_hold\+0x`, "USER-MODE"},
	} {
		status, out, errs := mortem(t, append([]string{"bt", "--vmlinux", vmlinux, dump}, with.flags...)...)
		if status != exitAnswered || errs != "" || !regexp.MustCompile(with.want).MatchString(out) || strings.Contains(out, with.not) || strings.Contains(out, " \n") {
			t.Errorf("%v: status %d, %s, no %s in or %s in\n%s", with.flags, status, errs, with.want, with.not, out)
		}
	}
	for _, flag := range []string{"-f", "-F", "-r", "-e"} {
		if status, _, errs := mortem(t, "bt", "--vmlinux", vmlinux, dump, "--unique", flag); status != exitUsage || !strings.Contains(errs, "--unique folds stacks") {
			t.Errorf("--unique %s: status %d, %s", flag, status, errs)
		}
	}
}

// TestBTOfThePanic: the task that the processor had which panicked, and the only one.
func TestBTOfThePanic(t *testing.T) {
	dump, vmlinux := fixtures.Unpacked(t, "kdump/vmcore.kdump"), fixtures.Path(t, kerneltest.Vmlinux)
	status, out, errs := mortem(t, "bt", "--vmlinux", vmlinux, "--panic", dump)
	if status != exitAnswered || errs != "" || strings.Count(out, "PID: ") != 1 || !strings.Contains(out, "sysrq_handle_crash+") {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
	if status, _, errs := bt(t, "--panic"); status != exitUsage || errs != "mortem: no processor panicked\n" {
		t.Errorf("without a panic: status %d, %s", status, errs)
	}
}

func TestBTRefusesEmptyNames(t *testing.T) {
	for _, args := range [][]string{{"--comm", ""}, {"--comm", "a,"}, {"--state", ""}, {"--in", ""}, {"--all", "--panic"}} {
		if status, _, errs := bt(t, args...); status != exitUsage || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: status %d, %s", args, status, errs)
		}
	}
	status, _, errs := mortem(t, "ps", "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), "--comm", "", fixtures.Path(t, kerneltest.Main))
	if status != exitUsage || strings.Count(errs, "\n") != 1 {
		t.Errorf("ps --comm '': status %d, %s", status, errs)
	}
}

// TestDisRefusesData: a variable is not code.
func TestDisRefusesData(t *testing.T) {
	for _, place := range []string{"jiffies_64", "init_task", "jiffies_64+4"} {
		status, out, errs := mortem(t, "dis", "--vmlinux", fixtures.Path(t, kerneltest.Vmlinux), fixtures.Path(t, kerneltest.Main), place)
		if status != exitUsage || out != "" || !strings.Contains(errs, "is a variable, not a function") {
			t.Errorf("%s: status %d, %s%s", place, status, out, errs)
		}
	}
}

// TestBTOfARM64: an exception's registers have the names of the architecture.
func TestBTOfARM64(t *testing.T) {
	status, out, errs := mortem(t, "bt", "--vmlinux", fixtures.Path(t, "arm64/vmlinux.mpack"), fixtures.Unpacked(t, "arm64/vmcore.xz"))
	if status != exitAnswered || errs != "" || !strings.Contains(out, "[exception PC: chacha_permute+") || strings.Contains(out, "RIP") {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
}

// TestBTSaysMoreOfStacks: what is said of a processor that was switching tasks, and of
// stacks that overflowed.
func TestBTSaysMoreOfStacks(t *testing.T) {
	cpu := 3
	a, b := stacks.Task{PID: 7, Comm: "from", State: "S", CPU: 3}, stacks.Task{PID: 8, Comm: "to", State: "R", CPU: 3, Addr: kernel.Addr(1)}
	r := &stacks.Report{Selected: 2, Overflowed: []stacks.Task{b}, Stacks: []stacks.Stack{
		{Task: a, SwitchingTo: &b, End: "user mode"}, {Task: b, NextOn: &cpu, End: "user mode"}}}
	var out strings.Builder
	w := &printer{w: &out}
	printStacks(w, r)
	for _, want := range []string{`CPU 3 was switching to 8 "to"`, "CPU 3 was switching to this task", `stacks that overflowed, their marks at the end being written over: R "to" 8`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
