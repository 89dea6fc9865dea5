package locks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kmortem/mortem/analysis/locks/waitgraph"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/lock"
)

// selection is what Options choose of a graph: the tasks and locks asked for, whom
// they wait for, and who waits for them.
type selection struct {
	b           *builder
	tasks       []int // asked for
	chosen      []waitgraph.Node
	keep        []bool // by node
	task, locks []int  // new index by old one, -1 for what is left out
}

// choose leaves in the report the roots and deadlocks that have to do with the tasks
// and locks that the options name. It is nil where they name none. Who is in the dump
// but has nothing to do with others' waiting is in Report.Apart; an error wraps
// kernel.ErrNotFound.
func (b *builder) choose(names names, opt Options) (*selection, error) {
	if len(opt.Tasks) == 0 && len(opt.Locks) == 0 {
		return nil, nil
	}
	s := &selection{b: b, keep: make([]bool, b.locks+len(b.r.Graph.Tasks))}
	for _, name := range opt.Tasks {
		if err := s.addTask(names, name); err != nil {
			return nil, err
		}
	}
	for _, name := range opt.Locks {
		if err := s.addLock(names, name); err != nil {
			return nil, err
		}
	}
	s.reach(b.solution.Waits, func(e waitgraph.Edge) waitgraph.Node { return e.To })
	s.reach(b.solution.Waiters, func(e waitgraph.Edge) waitgraph.Node { return e.From })
	for _, t := range s.tasks {
		b.r.Chains = append(b.r.Chains, b.chain(t))
	}
	s.drop()
	return s, nil
}

// names tells what there is in the dump besides the graph.
type names struct {
	task   func(pid int32, addr uint64) (comm string, ok, whole bool) // whole: all tasks were looked at
	symbol func(name string) (uint64, error)
}

// addTask chooses tasks by number or by the address of the task_struct.
func (s *selection) addTask(names names, name string) error {
	g := &s.b.r.Graph
	pid, pidErr := strconv.ParseInt(name, 10, 32)
	addr, addrErr := strconv.ParseUint(strings.TrimPrefix(name, "0x"), 16, 64)
	if pidErr != nil {
		pid = -1
	}
	if addrErr != nil || addr>>63 == 0 {
		addr = 0
	}
	found := false
	for i := range g.Tasks {
		t := &g.Tasks[i]
		if pid > 0 && t.Gone == "" && t.PID == int32(pid) || addr != 0 && uint64(t.Addr) == addr {
			s.tasks = append(s.tasks, i)
			s.add(s.b.taskNode(i))
			found = true
		}
	}
	if found {
		return nil
	}
	comm, ok, whole := names.task(int32(pid), addr)
	switch {
	case !ok && !whole:
		return unknown(fmt.Sprintf("no task %s is found in the dump, whose tasks could not be listed whole", name))
	case !ok:
		return unknown(fmt.Sprintf("there is no task %s in the dump: a thread id or the address of a task_struct is wanted", name))
	}
	s.b.r.Apart = append(s.b.r.Apart, fmt.Sprintf("task %s %q neither waits for a lock nor is known to hold one that others wait for", name, comm))
	return nil
}

// addLock chooses locks by address, that of the object that they are part of, or by what
// they are called.
func (s *selection) addLock(names names, name string) error {
	g := &s.b.r.Graph
	addr, err := strconv.ParseUint(strings.TrimPrefix(name, "0x"), 16, 64)
	if err != nil || addr>>63 == 0 {
		addr = 0
	}
	if addr == 0 {
		addr, _ = names.symbol(name)
	}
	found := false
	for i := range g.Locks {
		l := &g.Locks[i]
		if called(l, name) || addr != 0 && (uint64(l.Addr) == addr || l.Object != nil && uint64(l.Object.Addr) == addr) {
			s.add(waitgraph.Node(i))
			found = true
		}
	}
	switch {
	case !found && addr == 0:
		return unknown(fmt.Sprintf("lock %s: nobody waits for a lock that is called so, the kernel has no variable of that name, and it is no kernel address", name))
	case !found:
		s.b.r.Apart = append(s.b.r.Apart, fmt.Sprintf("nobody is known to wait for a lock at %s", name))
	}
	return nil
}

// called tells whether a lock has a name: that of a variable, with or without its module,
// the path of the file or directory that it is of, or what it is called in full.
func called(l *lock.Lock, name string) bool {
	variable, _, _ := strings.Cut(l.Symbol, " [")
	return name != "" && (variable == name || l.Symbol == name || Name(l) == name || strings.Trim(Name(l), `"`) == name || l.Object != nil && l.Object.Path == name)
}

func (s *selection) add(n waitgraph.Node) {
	if !slices.Contains(s.chosen, n) {
		s.chosen = append(s.chosen, n)
	}
}

// reach keeps what edges lead to from the chosen nodes.
func (s *selection) reach(edges func(waitgraph.Node) []waitgraph.Edge, next func(waitgraph.Edge) waitgraph.Node) {
	seen := make([]bool, len(s.keep))
	queue := slices.Clone(s.chosen)
	for _, n := range queue {
		seen[n] = true
	}
	for i := 0; i < len(queue); i++ {
		s.keep[queue[i]] = true
		for _, e := range edges(queue[i]) {
			if n := next(e); !seen[n] {
				seen[n] = true
				queue = append(queue, n)
			}
		}
	}
}

// drop leaves out roots and deadlocks that nothing which is kept leads to.
func (s *selection) drop() {
	r := s.b.r
	r.Roots = slices.DeleteFunc(r.Roots, func(root Root) bool {
		return !slices.ContainsFunc(root.Tasks, func(t TaskRef) bool { return s.keep[s.b.taskNode(t.Index)] }) &&
			!(root.Kind == RootLock && s.keep[root.Locks[0].Index])
	})
	r.Deadlocks = slices.DeleteFunc(r.Deadlocks, func(d Deadlock) bool { return !s.keep[s.b.taskNode(d.Steps[0].Task.Index)] })
	for i := range r.Roots {
		for _, l := range r.Roots[i].Locks {
			s.keep[l.Index] = true
		}
	}
}

// cut leaves out of the graph what is not kept, and numbers the rest anew.
func (s *selection) cut() {
	r := s.b.r
	s.cutGraph()
	for i := range r.Roots {
		s.renumberRoot(&r.Roots[i])
	}
	for i := range r.Deadlocks {
		for j := range r.Deadlocks[i].Steps {
			step := &r.Deadlocks[i].Steps[j]
			step.Task.Index, step.Holds.Index, step.Waits.Index = s.task[step.Task.Index], s.locks[step.Holds.Index], s.locks[step.Waits.Index]
		}
	}
	for i := range r.Chains {
		for j := range r.Chains[i].Links {
			link := &r.Chains[i].Links[j]
			link.Task.Index = s.task[link.Task.Index]
			if link.Waits != nil {
				link.Waits.Index = s.locks[link.Waits.Index]
			}
		}
	}
}

func (s *selection) renumberRoot(r *Root) {
	for i := range r.Tasks {
		r.Tasks[i].Index = s.task[r.Tasks[i].Index]
	}
	for i := range r.Locks {
		r.Locks[i].Index = s.locks[r.Locks[i].Index]
	}
	if r.WaitsFor != nil {
		r.WaitsFor.Index = s.locks[r.WaitsFor.Index]
	}
}

func (s *selection) cutGraph() {
	g := s.b.r.Graph
	out := lock.Snapshot{Tasks: []lock.Task{}, Locks: []lock.Lock{}, Waits: []lock.Wait{}, Holds: []lock.Hold{}, Coverage: g.Coverage}
	s.task, s.locks = make([]int, len(g.Tasks)), make([]int, len(g.Locks))
	for i := range g.Locks {
		s.locks[i] = -1
		if s.keep[i] {
			s.locks[i] = len(out.Locks)
			out.Locks = append(out.Locks, g.Locks[i])
		}
	}
	for i := range g.Tasks {
		s.task[i] = -1
		if s.keep[s.b.taskNode(i)] {
			s.task[i] = len(out.Tasks)
			out.Tasks = append(out.Tasks, g.Tasks[i])
		}
	}
	for _, w := range g.Waits {
		if w.Task, w.Lock = s.task[w.Task], s.locks[w.Lock]; w.Task >= 0 && w.Lock >= 0 {
			out.Waits = append(out.Waits, w)
		}
	}
	for _, h := range g.Holds {
		if h.Task, h.Lock = s.task[h.Task], s.locks[h.Lock]; h.Task >= 0 && h.Lock >= 0 {
			out.Holds = append(out.Holds, h)
		}
	}
	for _, u := range g.Unexplained {
		if u.Task = s.task[u.Task]; u.Task >= 0 {
			out.Unexplained = append(out.Unexplained, u)
		}
	}
	s.b.r.Graph, s.b.r.behind = out, nil
}

// unknown says what is not in the dump. It is a kernel.ErrNotFound.
type unknown string

func (u unknown) Error() string { return string(u) }

func (unknown) Unwrap() error { return kernel.ErrNotFound }
