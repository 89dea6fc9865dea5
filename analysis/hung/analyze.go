package hung

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/analysis/stacks"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/lock"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
)

// analyzer makes a report.
type analyzer struct {
	k     *kernel.Kernel
	tasks *task.Reader
	khung khungLayout
	graph *locks.Report
	roots []int               // by task of the graph: index into its roots
	index map[kernel.Addr]int // of tasks of the graph
	waits map[int]int         // by task of the graph: index of its lock
	now   uint64              // the latest record of the log, ns since boot; 0 if not known
	r     *Report
}

// Analyze finds out who has been stuck for how long. It makes the kernel name
// addresses in modules (module.Attach), and so must be called before the kernel is
// used by several goroutines. The error wraps kernel.ErrNotFound where the kernel
// lacks what it needs, or is that of ctx; what could not be read is in the
// report's coverage.
func Analyze(ctx context.Context, fs *vfs.FS) (*Report, error) {
	k := fs.Kernel()
	unwinder, err := stacks.Open(k)
	if err != nil {
		return nil, err
	}
	s, err := locks.Snapshot(ctx, fs, unwinder, lock.Options{})
	if err != nil {
		return nil, err
	}
	a := &analyzer{k: k, graph: locks.Build(s), index: map[kernel.Addr]int{}, waits: map[int]int{},
		r: &Report{Tasks: []Task{}, Groups: []Group{}, CPUs: []CPU{}, Messages: []Message{}, Coverage: k.NewCoverage()}}
	if a.tasks, err = task.New(k); err != nil {
		return nil, err
	}
	_ = k.Resolve(&a.khung) // all its members are optional
	a.r.Coverage.Add(s.Coverage)
	a.r.Settings = readSettings(k)
	a.prepare()
	if err := a.processors(); err != nil {
		a.r.Coverage.Fail(err)
	}
	if err := a.blocked(ctx, unwinder); err != nil {
		return nil, err
	}
	a.readLog()
	a.tie(a.liveTasks())
	a.r.Findings = a.findings()
	return a.r, nil
}

// prepare makes the graph's tasks be found by address.
func (a *analyzer) prepare() {
	a.roots = a.graph.RootOf()
	for i := range a.graph.Graph.Tasks {
		// Where a task_struct was used again, the task that is gone has the same address.
		if t := &a.graph.Graph.Tasks[i]; t.Gone == "" {
			a.index[t.Addr] = i
		}
	}
	for i := range a.graph.Graph.Waits {
		w := &a.graph.Graph.Waits[i]
		a.waits[w.Task] = w.Lock
	}
}

// blocked reads the tasks in uninterruptible sleep, and the stacks of what the
// processors run.
func (a *analyzer) blocked(ctx context.Context, unwinder *stacks.Tasks) error {
	r, err := unwinder.Collect(ctx, stacks.Options{States: "D"})
	if err != nil {
		return err
	}
	for i := range r.Stacks {
		if !r.Stacks[i].Running {
			a.r.Tasks = append(a.r.Tasks, a.task(&r.Stacks[i]))
		}
	}
	slices.SortStableFunc(a.r.Tasks, func(x, y Task) int {
		return cmp.Or(cmp.Compare(orZero(y.Blocked), orZero(x.Blocked)), cmp.Compare(x.PID, y.PID))
	})
	a.fold()
	running, err := unwinder.Collect(ctx, stacks.Options{Running: true})
	if err != nil {
		return err
	}
	byAddr := map[kernel.Addr]*stacks.Stack{}
	for i := range running.Stacks {
		byAddr[running.Stacks[i].Addr] = &running.Stacks[i]
	}
	for i := range a.r.CPUs {
		a.running(&a.r.CPUs[i], byAddr[a.r.CPUs[i].Task])
	}
	return nil
}

func orZero(n *uint64) uint64 {
	if n == nil {
		return 0
	}
	return *n
}

// task describes a blocked task.
func (a *analyzer) task(s *stacks.Stack) Task {
	t := Task{Addr: s.Addr, PID: s.PID, TGID: s.TGID, Comm: s.Comm, Seen: a.khung.seen(a.k, uint64(s.Addr)), Group: -1}
	known := lock.Task{Addr: s.Addr, PID: s.PID, Comm: s.Comm, State: s.State}
	if i, ok := a.index[s.Addr]; ok {
		known = a.graph.Graph.Tasks[i]
		if known.BlockedOK {
			t.Blocked = &known.Blocked
		}
		if l, ok := a.waits[i]; ok {
			t.Waits = a.graph.LockName(l)
		}
		t.Root, t.RootTask = a.root(i)
	}
	if limit := a.r.Settings.Timeout; limit != nil && *limit > 0 && t.Blocked != nil {
		t.Hung = *t.Blocked > *limit*1e9
	}
	t.Doing = locks.Describe(&known, s)
	t.stack, t.Doing.Stack = t.Doing.Stack, nil
	return t
}

// root is who a task's waiting ends at, empty where it is the task itself.
func (a *analyzer) root(i int) (string, *kernel.Addr) {
	n := a.roots[i]
	if n < 0 {
		return "", nil
	}
	r := &a.graph.Roots[n]
	switch r.Kind {
	case locks.RootTask:
		if r.Tasks[0].Index == i {
			return "", nil
		}
		addr := r.Tasks[0].Addr
		return locks.TaskName(&a.graph.Graph.Tasks[r.Tasks[0].Index]), &addr
	case locks.RootDeadlock:
		text := "a deadlock of"
		for j, t := range r.Tasks {
			if j == 4 {
				text += " and more"
				break
			}
			text += " " + locks.TaskName(&a.graph.Graph.Tasks[t.Index])
		}
		return text, nil
	}
	return "nobody known: " + a.graph.LockName(r.Locks[0].Index), nil
}

// fold puts tasks with equal stacks and the same root together.
func (a *analyzer) fold() {
	seed := maphash.MakeSeed()
	groups := map[uint64][]int{}
	for i := range a.r.Tasks {
		t := &a.r.Tasks[i]
		var h maphash.Hash
		h.SetSeed(seed)
		_, _ = h.WriteString(t.Root) // never fails
		for j := range t.stack {
			maphash.WriteComparable(&h, t.stack[j].PC)
		}
		sum := h.Sum64()
		at := slices.IndexFunc(groups[sum], func(g int) bool {
			first := &a.r.Tasks[a.r.Groups[g].Tasks[0]]
			return first.Root == t.Root && slices.EqualFunc(first.stack, t.stack, func(x, y locks.Frame) bool { return x.PC == y.PC })
		})
		if at >= 0 {
			g := groups[sum][at]
			a.r.Groups[g].Tasks = append(a.r.Groups[g].Tasks, i)
			continue
		}
		groups[sum] = append(groups[sum], len(a.r.Groups))
		a.r.Groups = append(a.r.Groups, Group{Tasks: []int{i}, Root: t.Root, What: t.Why(), Longest: t.Blocked, Stack: t.stack, End: t.Doing.End})
	}
	slices.SortStableFunc(a.r.Groups, func(x, y Group) int { return len(y.Tasks) - len(x.Tasks) })
	for i := range a.r.Groups {
		for _, t := range a.r.Groups[i].Tasks {
			a.r.Tasks[t].Group = i
		}
	}
}

// running describes what a processor runs.
func (a *analyzer) running(c *CPU, s *stacks.Stack) {
	if c.Idle {
		return
	}
	known := lock.Task{Addr: c.Task, PID: c.PID, Comm: c.Comm, State: "R", Running: true}
	if i, ok := a.index[c.Task]; ok {
		known = a.graph.Graph.Tasks[i]
		if l, ok := a.waits[i]; ok {
			c.Spins, c.HeldBy = a.graph.LockName(l), a.holders(l)
		}
		c.Blocks = a.graph.Behind(i)
	}
	c.Doing = locks.Describe(&known, s)
	c.Stack, c.Doing.Stack = c.Doing.Stack, nil
	if c.Spins != "" {
		c.Doing.What = "spins for " + c.Spins
	}
}

// holders are the tasks that hold a lock.
func (a *analyzer) holders(l int) []string {
	var list []string
	g := &a.graph.Graph
	for i := range g.Holds {
		h := &g.Holds[i]
		if h.Lock != l {
			continue
		}
		text := locks.TaskName(&g.Tasks[h.Task])
		if h.Sure != lock.Certain {
			text += fmt.Sprintf(" (%s)", h.Sure)
		}
		list = append(list, text)
	}
	return list
}
