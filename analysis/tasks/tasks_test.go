package tasks_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kmortem/mortem/analysis/tasks"
	"github.com/kmortem/mortem/fixtures"
	"github.com/kmortem/mortem/kernel/kerneltest"
)

func analyze(t testing.TB, opt tasks.Options) *tasks.Report {
	t.Helper()
	r, err := tasks.Analyze(t.Context(), kerneltest.MainFS(t), opt)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Coverage.Complete() || len(r.Differences) > 0 {
		t.Errorf("coverage %+v, differences %+v", r.Coverage, r.Differences)
	}
	return r
}

// TestAll: all threads of the guest and an idle task for each processor.
func TestAll(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	r := analyze(t, tasks.Options{Long: true, Files: true, Env: true})
	idle, running, threads := 0, 0, map[int32]int{}
	for i := range r.Tasks {
		if k := &r.Tasks[i]; k.Idle {
			idle++
		}
		if r.Tasks[i].Running {
			running++
		}
		threads[r.Tasks[i].TGID]++
	}
	if idle != guest.CPUs || running != guest.CPUs || r.Searched != uint64(len(r.Tasks)) {
		t.Errorf("%d idle, %d running, %d of %d", idle, running, len(r.Tasks), r.Searched)
	}
	if d := len(r.Tasks) - idle - len(guest.Plant.Tasks); d < -5 || d > 5 {
		t.Errorf("%d tasks, the guest has %d", len(r.Tasks)-idle, len(guest.Plant.Tasks))
	}
	for _, p := range guest.Tasks {
		if p.Pid == guest.Planted["threads"].Pid && threads[int32(p.Pid)] != len(p.Threads) {
			t.Errorf("%d threads, the guest says %d", threads[int32(p.Pid)], len(p.Threads))
		}
	}
	if r.UnreadUser == 0 {
		t.Error("the memory of programs is not in this dump, and that is not said")
	}
	if got := r.MemoryTotal >> 10; fmt.Sprint(got) != meminfo(guest.Late["/proc/meminfo"]) {
		t.Errorf("%d KiB of memory", got)
	}
}

// TestTimes: a task was put on its processor before it stopped to run there, and ran
// after it was started. The clocks of run queues and of the start differ a little.
func TestTimes(t *testing.T) {
	const slack = 1e9
	r := analyze(t, tasks.Options{Queues: true})
	now := uint64(0)
	for _, q := range r.Queues {
		now = max(now, q.Clock)
	}
	compared := 0
	for i := range r.Tasks {
		k := &r.Tasks[i]
		if k.Idle || k.Sched.RanAgo == nil || k.Sched.SwitchedAgo == nil {
			continue
		}
		compared++
		if ran, in := *k.Sched.RanAgo, *k.Sched.SwitchedAgo; ran > in+slack || in+k.Sched.Start > now+slack || k.Sched.Runtime > now {
			t.Errorf("%d %s: started at %d, put on its processor %d before %d, ran %d before, for %d in all",
				k.PID, k.Comm, k.Sched.Start, in, now, ran, k.Sched.Runtime)
		}
		if k.State == "S" && k.Sched.WaitsFor != nil {
			t.Errorf("%d %s sleeps, and waits for a processor", k.PID, k.Comm)
		}
	}
	if compared < 300 {
		t.Errorf("only %d were compared", compared)
	}
}

// meminfo is MemTotal in KiB.
func meminfo(text string) string {
	f := strings.Fields(text)
	return f[1]
}

// TestSelect: each flag leaves what it says.
func TestSelect(t *testing.T) {
	guest := fixtures.Truth(t, "main")
	pid := int32(guest.Planted["threads"].Pid)
	for name, c := range map[string]struct {
		opt  tasks.Options
		fits func(k *tasks.Task) bool
		n    int // how many; 0 for any number
	}{
		"pid":       {tasks.Options{PIDs: []int32{pid}}, func(k *tasks.Task) bool { return k.PID == pid }, 1},
		"threads":   {tasks.Options{PIDs: []int32{pid}, Threads: true}, func(k *tasks.Task) bool { return k.TGID == pid }, 0},
		"comm":      {tasks.Options{Comms: []string{"zombie"}}, func(k *tasks.Task) bool { return k.Crash == "ZO" && k.ExitCode.Status == 3 }, 1},
		"state":     {tasks.Options{States: []string{"Z", "T"}}, func(k *tasks.Task) bool { return k.State == "Z" || k.State == "T" }, 0},
		"running":   {tasks.Options{Running: true}, func(k *tasks.Task) bool { return k.Running }, guest.CPUs},
		"kernel":    {tasks.Options{Kernel: true}, func(k *tasks.Task) bool { return k.Kernel && k.VSZ == 0 }, 0},
		"user":      {tasks.Options{User: true}, func(k *tasks.Task) bool { return !k.Kernel && k.PID != 0 }, 0},
		"processes": {tasks.Options{Leaders: true}, func(k *tasks.Task) bool { return k.PID == k.TGID }, 0},
		"cpu":       {tasks.Options{CPUs: []int{2}}, func(k *tasks.Task) bool { return k.CPU == 2 }, 0},
	} {
		r := analyze(t, c.opt)
		if c.n != 0 && len(r.Tasks) != c.n || len(r.Tasks) == 0 || len(r.Tasks) == int(r.Searched) {
			t.Errorf("%s: %d of %d tasks", name, len(r.Tasks), r.Searched)
		}
		for i := range r.Tasks {
			if !c.fits(&r.Tasks[i]) {
				t.Errorf("%s: %+v", name, r.Tasks[i])
			}
		}
	}
}

func TestSorts(t *testing.T) {
	for _, name := range tasks.Sorts() {
		if r := analyze(t, tasks.Options{Sort: name, User: true}); len(r.Tasks) < 100 {
			t.Errorf("%s: %d tasks", name, len(r.Tasks))
		}
	}
	r := analyze(t, tasks.Options{Sort: "rss", User: true, Leaders: true})
	if !slices.IsSortedFunc(r.Tasks, func(a, b tasks.Task) int { return int(b.RSS) - int(a.RSS) }) {
		t.Error("not sorted by memory")
	}
	if _, err := tasks.Analyze(t.Context(), kerneltest.MainFS(t), tasks.Options{Sort: "beauty"}); err == nil {
		t.Error("sorted by beauty")
	}
}

// TestPriorities: of tasks on the run queues; the guest gave one process the nice value 19.
func TestPriorities(t *testing.T) {
	nice := int32(fixtures.Truth(t, "main").Planted["nice"].Pid)
	r := analyze(t, tasks.Options{Queues: true})
	prio := map[int32]int{}
	for _, k := range r.Tasks {
		prio[k.PID] = int(k.Sched.Prio)
	}
	if prio[nice] != 139 {
		t.Errorf("nice has the priority %d", prio[nice])
	}
	seen := false
	for _, q := range r.Queues {
		for _, k := range slices.Concat([]tasks.Queued{q.Current}, q.Fair, q.RealTime) {
			seen = seen || k.PID == nice
			if k.Prio != prio[k.PID] && k.PID != 0 {
				t.Errorf("%d %s has the priority %d on the run queue, and %d", k.PID, k.Comm, k.Prio, prio[k.PID])
			}
		}
	}
	if !seen {
		t.Error("nice is on no run queue")
	}
}

// TestThrottled: the group, since when, and whose tasks wait.
func TestThrottled(t *testing.T) {
	r := analyze(t, tasks.Options{Queues: true})
	if len(r.Groups) != 1 || len(r.Queues) != fixtures.Truth(t, "main").CPUs {
		t.Fatalf("%d groups, %d queues", len(r.Groups), len(r.Queues))
	}
	g := &r.Groups[0]
	if g.Path != "/mortem/throttled" || !g.Throttled || !g.Limited || g.Quota != 1e6 || g.Period != 1e9 {
		t.Errorf("%+v", g)
	}
	held := map[int]bool{}
	for _, q := range g.Queues {
		if q.Throttled && (q.Ago == nil || *q.Ago > 60e9) {
			t.Errorf("%+v", q)
		}
		for _, k := range q.Tasks {
			held[int(k.TGID)] = true
		}
	}
	guest := fixtures.Truth(t, "main")
	if !held[guest.Planted["throttled-1"].Pid] || !held[guest.Planted["throttled-2"].Pid] {
		t.Errorf("held back are the processes %v", held)
	}
}

func ExampleAnalyze() {
	fs := kerneltest.ExampleFS() // as vfs.Open does
	r, err := tasks.Analyze(context.Background(), fs, tasks.Options{States: []string{"Z"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range r.Tasks {
		fmt.Println(t.Comm, t.StateName, t.ExitCode.Status)
	}
	// Output: zombie zombie 3
}

// Tasks come in the order that Options.Sort names.
func ExampleSorts() {
	fmt.Println(strings.Join(tasks.Sorts(), " "))
	// Output: pid comm cpu state rss vsz time start ran
}

// BenchmarkAll reads all tasks of the main boot with all there is to know of them.
func BenchmarkAll(b *testing.B) {
	fs := kerneltest.MainFS(b)
	n := 0
	for b.Loop() {
		r, err := tasks.Analyze(b.Context(), fs, tasks.Options{Long: true, Files: true, Env: true, Queues: true})
		if err != nil {
			b.Fatal(err)
		}
		n += len(r.Tasks)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "tasks/s")
}
