package task_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/fixtures/truth"
	"github.com/kmortem/mortem/kernel/kerneltest"
	"github.com/kmortem/mortem/kernel/task"
)

// guest is the main boot's kernel, its tasks by number, and what the guest says.
type guest struct {
	truth   *truth.Truth
	tasks   *task.Reader
	details *task.Details
	byPID   map[int]*task.Task
}

func openGuest(t *testing.T) *guest {
	t.Helper()
	g := &guest{truth: fixtures.Truth(t, "main"), byPID: map[int]*task.Task{}}
	fs := kerneltest.MainFS(t)
	var err error
	if g.tasks, err = task.New(fs.Kernel()); err != nil {
		t.Fatal(err)
	}
	if g.details, err = task.NewDetails(g.tasks, fs); err != nil {
		t.Fatal(err)
	}
	for tk, err := range g.tasks.All() {
		if err != nil {
			t.Fatal(err)
		}
		g.byPID[int(tk.PID)] = tk
	}
	return g
}

// each calls f with each process of the guest that is still there.
func (g *guest) each(t *testing.T, f func(p *truth.Task, tk *task.Task, m *task.More)) {
	t.Helper()
	n := 0
	for i := range g.truth.Tasks {
		p := &g.truth.Tasks[i]
		tk := g.byPID[p.Pid]
		if tk == nil || tk.Comm != p.Comm && !tk.Kthread() {
			continue // a kernel worker that came or went
		}
		m, err := g.details.More(tk)
		if err != nil {
			t.Fatal(err)
		}
		f(p, tk, m)
		n++
	}
	if n < 100 {
		t.Errorf("only %d processes were compared", n)
	}
}

// status is a line of /proc/PID/status.
func status(p *truth.Task, name string) string {
	for line := range strings.Lines(p.Status) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// stat has the fields of /proc/PID/task/TID/stat, by the numbers that proc(5) gives
// them.
func stat(line string) []string {
	end := strings.LastIndex(line, ")")
	return append([]string{"", "", ""}, strings.Fields(line[end+1:])...)
}

// TestWalksAgree: the list of tasks and the pid structures lead to the same ones.
func TestWalksAgree(t *testing.T) {
	t.Run("main", func(t *testing.T) { checkWalks(t, fixtures.Path(t, kerneltest.Main)) })
	t.Run("kdump", func(t *testing.T) { checkWalks(t, fixtures.Unpacked(t, "kdump/vmcore.kdump")) })
}

func checkWalks(t *testing.T, file string) {
	t.Helper()
	tasks, err := task.New(kerneltest.FS(t, file).Kernel())
	if err != nil {
		t.Fatal(err)
	}
	listed := map[uint64]bool{}
	for tk, err := range tasks.All() {
		if err != nil {
			t.Fatal(err)
		}
		listed[tk.Addr] = true
	}
	seen := map[uint64]bool{}
	for tk, err := range tasks.ByPID() {
		if err != nil {
			t.Fatal(err)
		}
		if seen[tk.Addr] || !listed[tk.Addr] {
			t.Errorf("%d %s has a number; twice %v, in the list %v", tk.PID, tk.Comm, seen[tk.Addr], listed[tk.Addr])
		}
		seen[tk.Addr] = true
	}
	if len(seen) != len(listed) || len(seen) < 100 {
		t.Errorf("%d by number, %d in the list", len(seen), len(listed))
	}
}

// TestStates: state, parent, process, policy and priority of each thread.
func TestStates(t *testing.T) {
	g := openGuest(t)
	compared, differ := 0, 0
	for _, p := range g.truth.Tasks {
		for _, th := range p.Threads {
			tk, f := g.byPID[th.Tid], stat(th.Stat)
			if tk == nil {
				continue
			}
			m, err := g.details.More(tk)
			if err != nil {
				t.Fatal(err)
			}
			parent, err := g.tasks.At(m.Parent)
			if err != nil {
				t.Fatal(err)
			}
			compared++
			if tk.Letter() != f[3] {
				differ++ // it may have woken up or fallen asleep since
				t.Logf("%d %s is %s, the guest said %s", tk.PID, tk.Comm, tk.Letter(), f[3])
			}
			for what, pair := range map[string][2]string{
				"parent":      {fmt.Sprint(parent.TGID), f[4]},
				"policy":      {fmt.Sprint(m.Policy), f[41]},
				"rt_priority": {fmt.Sprint(m.RTPriority), f[40]},
				"nice":        {fmt.Sprint(m.Nice), f[19]},
				"prio":        {fmt.Sprint(m.Prio - 100), f[18]},
				"start":       {fmt.Sprint(m.Boot / 1e7), f[22]},
			} {
				// Priority inheritance moves prio.
				if pair[0] != pair[1] && what != "prio" {
					t.Errorf("%d %s: %s is %s, the guest says %s", tk.PID, tk.Comm, what, pair[0], pair[1])
				}
			}
			checkSched(t, tk, m, th.Sched)
		}
	}
	if compared < 200 || differ > compared/20 {
		t.Errorf("%d threads compared, %d of them in another state", compared, differ)
	}
}

// checkSched: the times and the count of schedstat only grow.
func checkSched(t *testing.T, tk *task.Task, m *task.More, schedstat string) {
	t.Helper()
	f := strings.Fields(schedstat)
	if len(f) != 3 {
		return
	}
	for i, got := range []uint64{m.Runtime, m.Delay, m.Runs} { // none of them ever falls
		want, err := strconv.ParseUint(f[i], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if got < want {
			t.Errorf("%d %s: field %d of schedstat is %d, the guest said %d", tk.PID, tk.Comm, i, got, want)
		}
	}
}

// TestPlanted are the states that were planted.
func TestPlanted(t *testing.T) {
	g := openGuest(t)
	for name, want := range map[string]struct {
		letter, policy string
		frozen         bool
	}{
		"zombie":    {"Z", "NORMAL", false},
		"stopped":   {"T", "NORMAL", false},
		"cg-frozen": {"S", "NORMAL", true},
		"fifo":      {"S", "FIFO", false},
		"deadline":  {"RS", "DEADLINE", false},
		"nice":      {"R", "NORMAL", false},
	} {
		tk := g.byPID[g.truth.Planted[name].Pid]
		if tk == nil {
			t.Errorf("%s is not there", name)
			continue
		}
		m, err := g.details.More(tk)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(want.letter, tk.Letter()) || m.PolicyName() != want.policy || m.Frozen != want.frozen {
			t.Errorf("%s: %s %s frozen %v, want %+v", name, tk.Letter(), m.PolicyName(), m.Frozen, want)
		}
		switch name {
		case "zombie":
			if m.ExitCode>>8 != 3 || m.MM != 0 {
				t.Errorf("zombie: exit code %#x, mm %#x", m.ExitCode, m.MM)
			}
		case "fifo":
			if m.RTPriority != 42 {
				t.Errorf("fifo: priority %d", m.RTPriority)
			}
		case "deadline":
			if d := m.Deadline; d == nil || d.Runtime != 2e6 || d.Deadline != 90e6 || d.Period != 100e6 {
				t.Errorf("deadline: %+v", d)
			}
		}
	}
}

// TestNumbers: the numbers in all pid namespaces are those of NSpid.
func TestNumbers(t *testing.T) {
	g := openGuest(t)
	deep := 0
	g.each(t, func(p *truth.Task, tk *task.Task, _ *task.More) {
		numbers, err := g.tasks.Numbers(tk)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range numbers {
			got = append(got, fmt.Sprint(n.PID))
		}
		if want := strings.Fields(status(p, "NSpid")); !slices.Equal(got, want) {
			t.Errorf("%d %s has the numbers %v, the guest says %v", tk.PID, tk.Comm, got, want)
		}
		deep = max(deep, len(numbers))
	})
	if deep < 3 {
		t.Errorf("the deepest has %d numbers", deep)
	}
}

// TestMemoryAndSignals: VmSize and VmRSS, pending and blocked signals.
func TestMemoryAndSignals(t *testing.T) {
	g := openGuest(t)
	compared := 0
	g.each(t, func(p *truth.Task, tk *task.Task, m *task.More) {
		shared, err := g.details.SharedPending(tk)
		if err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string]uint64{"SigPnd": m.Pending, "ShdPnd": shared, "SigBlk": m.Blocked} {
			const urgent = 1 << 22 // SIGURG, by which Go's runtime preempts its threads
			want, err := strconv.ParseUint(status(p, name), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			if got&^urgent != want&^urgent && p.Pid != 1 {
				t.Errorf("%d %s: %s %016x, the guest says %s", tk.PID, tk.Comm, name, got, status(p, name))
			}
		}
		size := status(p, "VmSize")
		if size == "" || m.MM == 0 {
			if (size == "") != (m.MM == 0) {
				t.Errorf("%d %s: mm %#x, the guest says %q", tk.PID, tk.Comm, m.MM, size)
			}
			return
		}
		mem, err := g.details.Memory(m.MM)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d kB", mem.Total*4); got != size && p.Pid != 1 { // it grows as it writes down the facts
			t.Errorf("%d %s: VmSize %s, the guest says %s", tk.PID, tk.Comm, got, size)
		}
		rss, err := strconv.ParseInt(strings.TrimSuffix(status(p, "VmRSS"), " kB"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		const slack = 2048 // kB; the Go runtime's threads go on
		if d := int64(mem.RSS*4) - rss; d < -slack || d > slack && p.Pid != 1 {
			t.Errorf("%d %s: VmRSS %d kB, the guest says %d", tk.PID, tk.Comm, mem.RSS*4, rss)
		}
		compared++
	})
	if compared < 30 {
		t.Errorf("only %d were compared", compared)
	}
}

// TestCredentials: ids, groups and capabilities.
func TestCredentials(t *testing.T) {
	g := openGuest(t)
	g.each(t, func(p *truth.Task, tk *task.Task, m *task.More) {
		c, err := g.details.Credentials(m)
		if err != nil {
			t.Fatal(err)
		}
		groups := strings.Trim(fmt.Sprint(c.Groups), "[]")
		for name, got := range map[string]string{
			"Uid":    fmt.Sprintf("%d\t%d\t%d\t%d", c.UID, c.EUID, c.SUID, c.FSUID),
			"Gid":    fmt.Sprintf("%d\t%d\t%d\t%d", c.GID, c.EGID, c.SGID, c.FSGID),
			"Groups": groups,
			"CapInh": fmt.Sprintf("%016x", c.Inheritable),
			"CapPrm": fmt.Sprintf("%016x", c.Permitted),
			"CapEff": fmt.Sprintf("%016x", c.Effective),
			"CapBnd": fmt.Sprintf("%016x", c.Bounding),
			"CapAmb": fmt.Sprintf("%016x", c.Ambient),
		} {
			if want := status(p, name); got != want {
				t.Errorf("%d %s: %s %q, the guest says %q", tk.PID, tk.Comm, name, got, want)
			}
		}
	})
}

// TestNamespacesAndCgroups by inode numbers and paths.
func TestNamespacesAndCgroups(t *testing.T) {
	g := openGuest(t)
	g.each(t, func(p *truth.Task, tk *task.Task, m *task.More) {
		c, err := g.details.Credentials(m)
		if err != nil {
			t.Fatal(err)
		}
		list, err := g.details.Namespaces(tk, c)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]uint64{}
		for _, n := range list {
			got[n.Kind] = uint64(n.Inum)
		}
		if p.NS != nil && tk.Letter() != "Z" && !maps.Equal(got, p.NS) {
			t.Errorf("%d %s is in %v, the guest says %v", tk.PID, tk.Comm, got, p.NS)
		}
		groups, err := g.details.Cgroups(m)
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, group := range groups {
			text += fmt.Sprintf("%d:%s:%s\n", group.Hierarchy, strings.Join(group.Controllers, ","), group.Path)
		}
		if strings.TrimSpace(text) != strings.TrimSpace(p.Cgroup) {
			t.Errorf("%d %s is in %q, the guest says %q", tk.PID, tk.Comm, text, p.Cgroup)
		}
	})
}

// TestFiles: descriptors, directories and the program by their paths.
func TestFiles(t *testing.T) {
	g := openGuest(t)
	compared := 0
	g.each(t, func(p *truth.Task, tk *task.Task, m *task.More) {
		files, err := g.details.Files(m)
		if err != nil {
			t.Fatal(err)
		}
		got := map[int]string{}
		for _, f := range files {
			got[f.FD] = f.Path
		}
		if !maps.Equal(got, p.FDs) && p.Pid != 1 && tk.Letter() != "Z" {
			t.Errorf("%d %s has open %v, the guest says %v", tk.PID, tk.Comm, got, p.FDs)
		}
		compared += len(got)
		root, cwd, err := g.details.Directories(m)
		if err != nil {
			t.Fatal(err)
		}
		if tk.Letter() != "Z" && (root != p.Root || cwd != p.Cwd) {
			t.Errorf("%d %s is in %s of %s, the guest says %s of %s", tk.PID, tk.Comm, cwd, root, p.Cwd, p.Root)
		}
		if m.MM == 0 {
			return
		}
		mem, err := g.details.Memory(m.MM)
		if err != nil {
			t.Fatal(err)
		}
		if exe, err := g.details.File(mem.Exe); err != nil || exe.Path != p.Exe {
			t.Errorf("%d %s runs %+v, %v; the guest says %s", tk.PID, tk.Comm, exe, err, p.Exe)
		}
	})
	if compared < 100 {
		t.Errorf("only %d descriptors were compared", compared)
	}
}
