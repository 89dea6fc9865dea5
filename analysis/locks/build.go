package locks

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/analysis/locks/waitgraph"
	"github.com/kmortem/mortem/kernel/lock"
)

// Build draws the conclusions from who waits for what and who holds what.
func Build(s *lock.Snapshot) *Report {
	b := newBuilder(s)
	b.deadlocks()
	b.roots()
	b.r.Findings = b.findings()
	return b.r
}

// builder makes a report.
type builder struct {
	r        *Report
	solution *waitgraph.Solution
	locks    int     // index of the first task's node: locks come first
	waits    [][]int // by lock: indexes of its waits
	holds    [][]int // by lock: indexes of its holds
	waitOf   []int   // by task: index of its wait, -1 for none
}

var sureness = map[lock.Confidence]waitgraph.Sure{lock.Certain: waitgraph.Certain, lock.Likely: waitgraph.Likely,
	lock.Suspected: waitgraph.Suspected, lock.Hint: waitgraph.Hint}

var confidences = []lock.Confidence{waitgraph.Certain: lock.Certain, waitgraph.Likely: lock.Likely,
	waitgraph.Suspected: lock.Suspected, waitgraph.Hint: lock.Hint}

// sureOf is how sure an edge is. The last reader of a lock is a hint, whatever it
// is called.
func sureOf(c lock.Confidence, m lock.Method) waitgraph.Sure {
	sure, ok := sureness[c]
	if !ok {
		sure = waitgraph.Suspected
	}
	if m == lock.ByReader {
		sure = waitgraph.Hint
	}
	return sure
}

// apart leaves out waits for locks whose address was not found, such as futexes: they
// are not one lock that all these tasks wait for.
func apart(s *lock.Snapshot) *lock.Snapshot {
	unknown := func(w lock.Wait) bool { return s.Locks[w.Lock].Addr == 0 }
	if !slices.ContainsFunc(s.Waits, unknown) {
		return s
	}
	out := *s
	out.Waits, out.Unexplained = []lock.Wait{}, slices.Clone(s.Unexplained)
	for _, w := range s.Waits {
		if !unknown(w) {
			out.Waits = append(out.Waits, w)
			continue
		}
		out.Unexplained = append(out.Unexplained, lock.Unexplained{Task: w.Task, At: w.Evidence.Function,
			Why: fmt.Sprintf("it waits for a %s, and which one was not found", s.Locks[w.Lock].Kind)})
	}
	return &out
}

func newBuilder(s *lock.Snapshot) *builder {
	s = apart(s)
	b := &builder{r: &Report{Deadlocks: []Deadlock{}, Roots: []Root{}, Graph: *s, Coverage: s.Coverage}, locks: len(s.Locks),
		waits: make([][]int, len(s.Locks)), holds: make([][]int, len(s.Locks)), waitOf: make([]int, len(s.Tasks))}
	var g waitgraph.Graph
	for range s.Locks {
		g.Lock()
	}
	for i := range s.Tasks {
		g.Task()
		b.waitOf[i] = -1
	}
	for i := range s.Waits {
		w := &s.Waits[i]
		if w.Spinning {
			b.r.Spinning++
		} else {
			b.r.Blocked++
		}
		b.waits[w.Lock] = append(b.waits[w.Lock], i)
		b.waitOf[w.Task] = i
		g.Wait(b.taskNode(w.Task), waitgraph.Node(w.Lock), sureOf(w.Sure, ""))
	}
	for i := range s.Holds {
		h := &s.Holds[i]
		b.holds[h.Lock] = append(b.holds[h.Lock], i)
		if sure, ok := b.blocks(h); ok {
			g.Hold(waitgraph.Node(h.Lock), b.taskNode(h.Task), sure)
		}
	}
	b.solution = g.Solve()
	b.r.behind = func(task int) int { return b.solution.Behind(b.taskNode(task)) }
	return b
}

// blocks is how sure it is that a holder is in the way of those that wait. Who has the
// other end of a pipe open is one of those that could end the wait, but need not be the
// only one: other threads of the process, and signal handlers, have it too. A pipe that
// a process has open at both ends, to wake itself up, is no deadlock.
func (b *builder) blocks(h *lock.Hold) (sure waitgraph.Sure, ok bool) {
	sure = sureOf(h.Sure, h.Method)
	if b.r.Graph.Locks[h.Lock].Kind != lock.Pipe {
		return sure, true
	}
	holder := b.r.Graph.Tasks[h.Task].TGID
	for _, w := range b.waits[h.Lock] {
		if b.r.Graph.Tasks[b.r.Graph.Waits[w].Task].TGID == holder {
			return 0, false
		}
	}
	return max(sure, waitgraph.Suspected), true
}

func (b *builder) taskNode(i int) waitgraph.Node { return waitgraph.Node(b.locks + i) }

// index is a node's index among the tasks or among the locks.
func (b *builder) index(n waitgraph.Node) (i int, isTask bool) {
	if int(n) < b.locks {
		return int(n), false
	}
	return int(n) - b.locks, true
}

// wait is the edge from a task to a lock, hold the surest from a lock to a task.
func (b *builder) wait(task, lockIndex int) *lock.Wait {
	w := &b.r.Graph.Waits[b.waitOf[task]]
	if w.Lock == lockIndex {
		return w
	}
	for _, i := range b.waits[lockIndex] {
		if b.r.Graph.Waits[i].Task == task {
			return &b.r.Graph.Waits[i]
		}
	}
	return w
}

func (b *builder) hold(lockIndex, task int) *lock.Hold {
	var best *lock.Hold
	for _, i := range b.holds[lockIndex] {
		h := &b.r.Graph.Holds[i]
		if h.Task == task && (best == nil || sureOf(h.Sure, h.Method) < sureOf(best.Sure, best.Method)) {
			best = h
		}
	}
	return best
}

// maxDeadlocks bounds how many are told; the surest are.
const maxDeadlocks = 1000

func (b *builder) deadlocks() {
	for i := range b.solution.Cycles {
		if i == maxDeadlocks {
			b.r.MoreDeadlocks = len(b.solution.Cycles) - i
			break
		}
		c := &b.solution.Cycles[i]
		d := Deadlock{Confidence: confidences[c.Sure], Knot: c.Knot}
		for j := 0; j < len(c.Nodes); j += 2 {
			task, _ := b.index(c.Nodes[j])
			waits, _ := b.index(c.Nodes[j+1])
			held, _ := b.index(c.Nodes[(j+len(c.Nodes)-1)%len(c.Nodes)])
			w, h := b.wait(task, waits), b.hold(held, task)
			d.Steps = append(d.Steps, Step{Task: b.task(task), Holds: b.lock(held), HoldsBy: h.Method, HoldSure: b.confidence(h),
				Waits: b.lock(waits), WaitsBy: first(w.Methods), WaitSure: confidences[sureOf(w.Sure, "")]})
		}
		d.Behind = b.solution.Behind(c.Nodes[0]) - (c.Knot - 1)
		d.Text = b.cycleText(d.Steps)
		b.r.Deadlocks = append(b.r.Deadlocks, d)
	}
}

func first(list []lock.Method) lock.Method {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func (b *builder) roots() {
	for i := range b.solution.Roots {
		b.r.Roots = append(b.r.Roots, b.root(&b.solution.Roots[i]))
	}
}

func (b *builder) root(s *waitgraph.Root) Root {
	r := Root{Kind: RootDeadlock, Direct: s.Direct, All: s.All, Certain: s.Sure, AtLeast: s.AtLeast, Locks: []LockRef{}}
	best := waitgraph.Hint
	seen := map[int]bool{}
	addLock := func(i int) {
		if !seen[i] {
			seen[i] = true
			r.Locks = append(r.Locks, b.lock(i))
		}
	}
	for _, n := range s.Nodes {
		i, isTask := b.index(n)
		if !isTask {
			if !s.Deadlock() {
				r.Kind, r.Why, best = RootLock, b.noHolder(i), waitgraph.Certain
			}
			addLock(i)
			continue
		}
		if !s.Deadlock() {
			r.Kind, r.WaitsFor = RootTask, b.waitsFor(i)
		}
		r.Tasks = append(r.Tasks, b.task(i))
		for _, e := range b.solution.Held(n) {
			if l, _ := b.index(e.From); len(b.waits[l]) > 0 {
				best = min(best, e.Sure)
				addLock(l)
			}
		}
	}
	r.Confidence = confidences[best]
	for i := range r.Locks {
		for _, w := range b.waits[r.Locks[i].Index] {
			if wait := &b.r.Graph.Waits[w]; wait.Known && (r.Longest == nil || wait.For > *r.Longest) {
				longest := wait.For
				r.Longest = &longest
			}
		}
	}
	slices.SortStableFunc(r.Locks, func(x, y LockRef) int {
		return cmp.Or(len(b.waits[y.Index])-len(b.waits[x.Index]), cmp.Compare(x.Addr, y.Addr))
	})
	return r
}

// noHolder says why a lock is a root.
func (b *builder) noHolder(i int) string {
	l := &b.r.Graph.Locks[i]
	switch {
	case l.NoHolder != "":
		return l.NoHolder
	case l.Kind == lock.Pipe && len(b.holds[i]) > 0:
		return "only the waiting process itself is known to have its other end open"
	case len(b.holds[i]) > 0:
		return "its last reader waits for it itself"
	}
	return ""
}

// waitsFor is the lock that a root itself waits for: one without a known holder, or
// with a hint that leads in a circle.
func (b *builder) waitsFor(task int) *LockRef {
	if b.waitOf[task] < 0 {
		return nil
	}
	l := b.lock(b.r.Graph.Waits[b.waitOf[task]].Lock)
	return &l
}

// chain is the way from a task to its root.
func (b *builder) chain(task int) Chain {
	var c Chain
	nodes := b.solution.Chain(b.taskNode(task))
	last := nodes[len(nodes)-1]
	c.Deadlock = slices.Contains(nodes[:len(nodes)-1], last)
	for i := 0; i < len(nodes); i += 2 {
		t, _ := b.index(nodes[i])
		link := Link{Task: b.task(t)}
		if i+1 < len(nodes) {
			n, _ := b.index(nodes[i+1])
			l := b.lock(n)
			link.Waits = &l
		}
		c.Links = append(c.Links, link)
	}
	c.Text = b.chainText(&c)
	return c
}

// confidence is how sure it is that a holder is in the way.
func (b *builder) confidence(h *lock.Hold) lock.Confidence {
	sure, ok := b.blocks(h)
	if !ok {
		sure = waitgraph.Hint
	}
	return confidences[sure]
}
