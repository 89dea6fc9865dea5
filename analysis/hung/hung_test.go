package hung_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/analysis/hung"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/vfs"
)

func analyze(t *testing.T, fs *vfs.FS) *hung.Report {
	t.Helper()
	r, err := hung.Analyze(context.Background(), fs)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBlockedTasks: the tasks are those that the guest's kernel had in the state D,
// and each is in one group.
func TestBlockedTasks(t *testing.T) {
	r := analyze(t, kerneltest.MainFS(t))
	facts := fixtures.Truth(t, "main")
	want, got := map[int]bool{}, map[int]bool{}
	for _, k := range facts.Plant.Tasks {
		const uninterruptible, noload = 2, 0x400
		if k.State&uninterruptible != 0 && k.State&noload == 0 {
			want[k.Pid] = true
		}
	}
	for i := range r.Tasks {
		tk := &r.Tasks[i]
		got[int(tk.PID)] = true
		if !want[int(tk.PID)] {
			t.Errorf("%d %s is not blocked", tk.PID, tk.Comm)
		}
		if tk.Blocked == nil || i > 0 && *tk.Blocked > *r.Tasks[i-1].Blocked {
			t.Errorf("%d %s is out of order: %v", tk.PID, tk.Comm, tk.Blocked)
		}
		if !slices.Contains(r.Groups[tk.Group].Tasks, i) || r.Groups[tk.Group].Root != tk.Root {
			t.Errorf("%d %s is not in its group %+v", tk.PID, tk.Comm, r.Groups[tk.Group])
		}
	}
	if len(got) != len(want) || len(want) < 40 {
		t.Errorf("%d tasks are blocked, not %d", len(got), len(want))
	}
	// Two threads came to the same mutex by the same way.
	if g := &r.Groups[0]; len(g.Tasks) != 2 || !strings.Contains(g.Root, "u/mutex.hold") || len(g.Stack) < 8 {
		t.Errorf("%+v", g)
	}
}

// TestMessages: the lines are those that the guest read from /dev/kmsg, each tied to
// its task, which is still blocked or still on its processor.
func TestMessages(t *testing.T) {
	r := analyze(t, kerneltest.MainFS(t))
	facts := fixtures.Truth(t, "main")
	var want []string
	for _, line := range facts.Kmsg {
		_, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ";")
		if strings.HasPrefix(text, "INFO: task ") || strings.HasPrefix(text, "watchdog: BUG: soft lockup") {
			want = append(want, text)
		}
	}
	var got []string
	for i := range r.Messages {
		m := &r.Messages[i]
		got = append(got, m.Text)
		now := "still blocked"
		if m.Kind == hung.SoftLockup {
			now = fmt.Sprintf("runs on CPU %d", m.CPUs[0])
		}
		if m.Tied == nil || m.Tied.Task == 0 || m.Tied.Now != now || m.Time == nil {
			t.Errorf("%s: %+v", m.Text, m.Tied)
		}
	}
	if !slices.Equal(got, want) || len(want) < 15 {
		t.Errorf("%d messages, not %d: %q", len(got), len(want), got)
	}
	if s := r.Settings; s.Timeout == nil || *s.Timeout != 8 || s.Warnings == nil || *s.Warnings != 0 || s.SoftLock == nil || *s.SoftLock != 4 || r.LogError != "" {
		t.Errorf("settings %+v, %s", s, r.LogError)
	}
}

// TestLockups: the processors that the guest had spin are told, with what they run,
// and no other.
func TestLockups(t *testing.T) {
	r := analyze(t, kerneltest.MainFS(t))
	facts := fixtures.Truth(t, "main")
	spin := map[int32]string{}
	for _, p := range facts.Plant.Players {
		if p.Role == "spin.hold" || p.Role == "spin.wait" {
			spin[int32(p.Tid)] = p.Role
		}
	}
	stuck := 0
	for i := range r.CPUs {
		c := &r.CPUs[i]
		role := spin[c.PID]
		if c.Soft != (role != "") || (c.Spins != "") != (role == "spin.wait") || (len(c.Messages) > 0) != (role != "") {
			t.Errorf("CPU %d: %+v", c.Number, c)
		}
		if role != "" {
			stuck++
			statement := fmt.Sprintf("CPU %d does not schedule (soft lockup): it runs %d ", c.Number, c.PID)
			if !slices.ContainsFunc(r.Findings, func(f finding.Finding) bool {
				return f.Confidence == finding.Certain && strings.HasPrefix(f.Statement, statement)
			}) {
				t.Errorf("no finding: %s", statement)
			}
		}
	}
	if stuck != 3 || len(r.CPUs) != 4 {
		t.Errorf("%d of %d processors are stuck", stuck, len(r.CPUs))
	}
}

// TestCrashedMachine is the dump of a real panic: the same tasks hang.
func TestCrashedMachine(t *testing.T) {
	r := analyze(t, kerneltest.FS(t, fixtures.Unpacked(t, "kdump/vmcore.kdump")))
	names := map[string]bool{}
	for i := range r.Tasks {
		names[r.Tasks[i].Comm] = true
	}
	for _, p := range fixtures.Truth(t, "kdump").Plant.Players {
		if strings.HasPrefix(p.Role, "mutex.") && !names[p.Comm] {
			t.Errorf("%s is not blocked", p.Comm)
		}
	}
}

func ExampleAnalyze() {
	r, err := hung.Analyze(context.Background(), kerneltest.ExampleFS())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range r.Findings {
		if f.ID == "hung.soft-lockup" {
			fmt.Println(f.Severity, f.Statement[:len("CPU 1 does not schedule")])
		}
	}
	// Output:
	// critical CPU 1 does not schedule
	// critical CPU 2 does not schedule
	// critical CPU 3 does not schedule
}
