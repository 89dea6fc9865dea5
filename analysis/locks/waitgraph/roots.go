package waitgraph

import (
	"cmp"
	"slices"
)

// Root is where waiting ends: a task that waits for no lock of which a holder is
// known, a lock of which no holder is known, or a deadlock.
type Root struct {
	// Nodes are one task, one lock, or the tasks and locks of a deadlock.
	Nodes []Node
	// Direct are the tasks outside of the root that wait for a lock that a task of
	// the root holds, or for the lock that is the root. All are those and the
	// tasks that wait for them in turn.
	Direct, All int
	// Sure are those of All that certain edges alone lead to the root.
	Sure int
	// AtLeast: there was so much to count that All and Sure count Direct only.
	AtLeast bool
}

// Deadlock tells whether the root is one.
func (r *Root) Deadlock() bool { return len(r.Nodes) > 1 }

// countingWork bounds how many edges are followed to count who waits for the roots,
// in edges of the graph: tasks that wait for several roots are counted at each.
const countingWork = 16

// roots finds the roots that tasks wait for: first the one that most wait for.
// A hint is not followed where it closes a circle, as it would hide what is known.
func (s *solver) roots() []Root {
	all, _ := s.out.components(func(Node, half) bool { return true })
	follow := func(from Node, e half) bool { return e.sure < Hint || all[from] != all[e.to] }
	s.follow = follow
	of, count := s.out.components(follow)
	sink := make([]bool, count)
	for i := range sink {
		sink[i] = true
	}
	for n := range s.g.lock {
		for _, e := range s.out.of(Node(n)) {
			if follow(Node(n), e) && of[e.to] != of[n] {
				sink[of[n]] = false
			}
		}
	}
	var list []Root
	place := make([]int32, count)
	for n, c := range of {
		switch {
		case !sink[c]:
		case place[c] > 0:
			r := &list[place[c]-1]
			r.Nodes = append(r.Nodes, Node(n))
		case len(s.in.of(Node(n))) > 0:
			list = append(list, Root{Nodes: []Node{Node(n)}})
			place[c] = int32(len(list))
		}
	}
	s.count(list)
	list = slices.DeleteFunc(list, func(r Root) bool { return !r.Deadlock() && r.Direct == 0 })
	slices.SortStableFunc(list, func(a, b Root) int { return cmp.Or(b.All-a.All, b.Direct-a.Direct, int(a.Nodes[0]-b.Nodes[0])) })
	return list
}

// count counts the tasks that wait for roots.
func (s *solver) count(list []Root) {
	for i := range list {
		list[i].Direct = s.direct(&list[i])
	}
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return list[b].Direct - list[a].Direct })
	left := countingWork * (len(s.g.edges) + len(s.g.lock))
	locks := map[Node]Root{} // what is known to wait for the only lock of a task
	for _, i := range order {
		r := &list[i]
		lock, sure := s.only(r)
		known, ok := locks[lock]
		switch {
		case ok:
			r.All, r.Sure = known.All, known.Sure
		case left <= 0:
			r.All, r.AtLeast = r.Direct, true
		default:
			from := r.Nodes
			if lock >= 0 {
				from = []Node{lock}
			}
			r.All = s.behind(from, &left, s.follow)
			r.Sure = s.behind(from, &left, func(_ Node, e half) bool { return e.sure == Certain })
			if lock >= 0 {
				locks[lock] = *r
			}
		}
		if lock >= 0 && sure != Certain {
			r.Sure = 0
		}
	}
}

// only is the lock of a task that holds one lock: whoever waits for the task waits
// for that lock, which may have very many holders. It is -1 for other roots.
func (s *solver) only(r *Root) (lock Node, sure Sure) {
	lock, sure = -1, levels
	if r.Deadlock() || s.g.lock[r.Nodes[0]] {
		return -1, sure
	}
	for _, e := range s.in.of(r.Nodes[0]) {
		switch {
		case !s.follow(e.to, half{r.Nodes[0], e.sure}):
		case lock >= 0 && lock != e.to:
			return -1, sure
		default:
			lock, sure = e.to, min(sure, e.sure)
		}
	}
	return lock, sure
}

// direct counts the tasks one lock away from a root.
func (s *solver) direct(r *Root) int {
	s.begin(r.Nodes)
	count := 0
	waiting := func(lock Node) {
		for _, e := range s.in.of(lock) {
			if s.follow(e.to, half{lock, e.sure}) && s.mark(e.to) {
				count++
			}
		}
	}
	for _, n := range r.Nodes {
		if s.g.lock[n] {
			waiting(n)
			continue
		}
		for _, e := range s.in.of(n) {
			if s.follow(e.to, half{n, e.sure}) && s.mark(e.to) {
				waiting(e.to)
			}
		}
	}
	return count
}

// behind counts the tasks outside of a set of nodes that lead to it by edges that
// pass.
func (s *solver) behind(nodes []Node, left *int, pass func(Node, half) bool) int {
	s.begin(nodes)
	queue := append(s.queue[:0], nodes...)
	count := 0
	for i := 0; i < len(queue); i++ {
		n := queue[i]
		for _, e := range s.in.of(n) {
			*left--
			if pass(e.to, half{n, e.sure}) && s.mark(e.to) {
				queue = append(queue, e.to)
				if !s.g.lock[e.to] {
					count++
				}
			}
		}
	}
	s.queue = queue
	return count
}

// begin marks the nodes that a search starts from, and no others.
func (s *solver) begin(nodes []Node) {
	s.round++
	for _, n := range nodes {
		s.marks[n] = s.round
	}
}

// mark marks a node, and tells whether it was not yet.
func (s *solver) mark(n Node) bool {
	if s.marks[n] == s.round {
		return false
	}
	s.marks[n] = s.round
	return true
}
