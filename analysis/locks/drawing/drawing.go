// Package drawing draws who blocks whom: as DOT for Graphviz and other programs, and
// as SVG for a browser. It is apart from package locks so that who needs no picture
// needs no library for one.
package drawing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/kernel/lock"
)

// Tasks that only wait, for one lock, are drawn as one box where they are more than
// foldOver; a picture has no more than maxBoxes boxes.
const (
	foldOver = 4
	maxBoxes = 1500
)

// picture is what is drawn: waiting goes from the left to the right.
type picture struct {
	boxes []box
	lines []line
	// left counts tasks and locks that there was no room for.
	left int
}

// box is a lock, a task, or several tasks.
type box struct {
	lock     bool
	tasks    int      // how many it stands for
	label    []string // its lines
	root     bool     // waiting ends here
	deadlock bool
	gone     bool
}

// line leads from a task to the lock that it waits for, or from a lock to its holder.
type line struct {
	from, to int
	hold     bool
	sure     lock.Confidence
	deadlock bool
	label    string
}

// painter makes a picture of a report.
type painter struct {
	picture
	r      *locks.Report
	boxOf  []int // of each task, -1 for none
	lockAt []int // of each lock, -1 for none
	root   map[int]bool
	dead   map[int]bool    // tasks in deadlocks
	edges  map[[2]int]bool // of deadlocks: {task, lock} waits, {-lock-1, task} holds
}

func newPicture(r *locks.Report) *picture {
	p := &painter{r: r, boxOf: make([]int, len(r.Graph.Tasks)), lockAt: make([]int, len(r.Graph.Locks)),
		root: map[int]bool{}, dead: map[int]bool{}, edges: map[[2]int]bool{}}
	for i := range p.boxOf {
		p.boxOf[i] = -1
	}
	for i := range p.lockAt {
		p.lockAt[i] = -1
	}
	for i := range r.Roots {
		if r.Roots[i].Kind == locks.RootTask {
			p.root[r.Roots[i].Tasks[0].Index] = true
		}
	}
	for i := range r.Deadlocks {
		for _, s := range r.Deadlocks[i].Steps {
			p.dead[s.Task.Index] = true
			p.edges[[2]int{s.Task.Index, s.Waits.Index}] = true
			p.edges[[2]int{-s.Holds.Index - 1, s.Task.Index}] = true
		}
	}
	p.draw()
	return &p.picture
}

// draw adds the locks, those with the most waiters first, with who waits for them
// and who holds them.
func (p *painter) draw() {
	g := &p.r.Graph
	waits := make([][]int, len(g.Locks))
	for i := range g.Waits {
		waits[g.Waits[i].Lock] = append(waits[g.Waits[i].Lock], i)
	}
	holds := make([][]int, len(g.Locks))
	holder := make([]bool, len(g.Tasks))
	for i := range g.Holds {
		h := &g.Holds[i]
		if len(waits[h.Lock]) > 0 {
			holds[h.Lock] = append(holds[h.Lock], i)
			holder[h.Task] = true
		}
	}
	order := make([]int, 0, len(g.Locks))
	for i := range g.Locks {
		if len(waits[i]) > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(waits[b]), len(waits[a])) })
	for _, i := range order {
		p.addLock(i, waits[i], holds[i], holder)
	}
}

func (p *painter) addLock(i int, waits, holds []int, holder []bool) {
	g := &p.r.Graph
	if len(p.boxes)+len(holds)+foldOver >= maxBoxes {
		p.left += 1 + len(waits)
		return
	}
	l := &g.Locks[i]
	b := box{lock: true, label: []string{string(l.Kind), locks.Name(l)}}
	if !strings.Contains(b.label[1], l.Addr.String()) {
		b.label = append(b.label, l.Addr.String())
	}
	if len(holds) == 0 {
		b.root = true
		b.label = append(b.label, "holder not known")
	}
	p.lockAt[i] = p.add(b)
	for _, h := range holds {
		hold := &g.Holds[h]
		inCycle := p.edges[[2]int{-i - 1, hold.Task}]
		p.lines = append(p.lines, line{from: p.lockAt[i], to: p.task(hold.Task), hold: true, sure: hold.Sure, deadlock: inCycle, label: "held: " + string(hold.Method)})
	}
	var only []int // that hold nothing themselves
	for _, w := range waits {
		if holder[g.Waits[w].Task] || p.boxOf[g.Waits[w].Task] >= 0 {
			p.wait(w, p.task(g.Waits[w].Task))
		} else {
			only = append(only, w)
		}
	}
	if len(only) > foldOver {
		p.fold(only)
		return
	}
	for _, w := range only {
		p.wait(w, p.task(g.Waits[w].Task))
	}
}

func (p *painter) add(b box) int {
	p.boxes = append(p.boxes, b)
	return len(p.boxes) - 1
}

func (p *painter) task(i int) int {
	if p.boxOf[i] >= 0 {
		return p.boxOf[i]
	}
	t := &p.r.Graph.Tasks[i]
	b := box{tasks: 1, root: p.root[i], deadlock: p.dead[i], gone: t.Gone != "", label: []string{locks.TaskName(t)}}
	switch {
	case t.Unread:
		b.label = []string{"a task that cannot be read", t.Addr.String()}
	case t.Gone != "":
		b.label = []string{"a task that is gone", t.Addr.String()}
	default:
		state := t.State
		if t.Running {
			state = fmt.Sprintf("on CPU %d", t.CPU)
		}
		if t.Doing != "" {
			state += " in " + t.Doing
		}
		b.label = append(b.label, state)
	}
	p.boxOf[i] = p.add(b)
	return p.boxOf[i]
}

func (p *painter) wait(w, from int) {
	wait := &p.r.Graph.Waits[w]
	l := line{from: from, to: p.lockAt[wait.Lock], sure: wait.Sure, deadlock: p.edges[[2]int{wait.Task, wait.Lock}]}
	l.label = "waits"
	if wait.Spinning {
		l.label = "spins"
	}
	if wait.Known {
		l.label += " " + Duration(wait.For)
	}
	p.lines = append(p.lines, l)
}

// fold draws tasks that only wait as one box.
func (p *painter) fold(waits []int) {
	g := &p.r.Graph
	count := map[string]int{}
	longest := waits[0]
	for _, w := range waits {
		count[g.Tasks[g.Waits[w].Task].Comm]++
		if g.Waits[w].For > g.Waits[longest].For {
			longest = w
		}
	}
	names := make([]string, 0, len(count))
	for name := range count {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(count[b]-count[a], cmp.Compare(a, b)) })
	b := box{tasks: len(waits), label: []string{fmt.Sprintf("%d tasks", len(waits))}}
	for i, name := range names {
		if i == foldOver {
			b.label = append(b.label, fmt.Sprintf("and %d more names", len(names)-i))
			break
		}
		b.label = append(b.label, fmt.Sprintf("%d × \"%s\"", count[name], name))
	}
	at := p.add(b)
	for _, w := range waits {
		p.boxOf[g.Waits[w].Task] = at
	}
	p.wait(longest, at)
}

// Duration writes ns as a person reads it.
func Duration(ns uint64) string {
	d := time.Duration(min(ns, 1<<62))
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Microsecond).String()
}
