package waitgraph

// Solution is what a graph tells. Its methods are for one goroutine at a time.
type Solution struct {
	Cycles []Cycle // the surest first
	Roots  []Root  // that tasks wait for; first the one that most wait for

	s *solver
}

// solver has what the steps of a solution share.
type solver struct {
	g       *Graph
	out, in adjacency
	follow  func(Node, half) bool // whether an edge leads to a root

	from           []Node // of a search: the node before, -1 for none
	queue, touched []Node
	marks          []int32 // the round of the search that came to the node
	round          int32
}

// Solve finds the cycles and roots of a graph, in time proportional to its size.
// The graph must not change any more.
func (g *Graph) Solve() *Solution {
	s := &solver{g: g, out: g.sorted(false), in: g.sorted(true), from: make([]Node, g.Len()), marks: make([]int32, g.Len())}
	for i := range s.from {
		s.from[i] = -1
	}
	return &Solution{Cycles: s.cycles(), Roots: s.roots(), s: s}
}

// Waits are the locks that a task waits for.
func (s *Solution) Waits(task Node) []Edge { return s.edges(task, false) }

// Held are the locks that a task holds; its edges lead from the locks to it.
func (s *Solution) Held(task Node) []Edge { return s.edges(task, true) }

// Waiters are the tasks that wait for a lock; its edges lead from the tasks to it.
func (s *Solution) Waiters(lock Node) []Edge { return s.edges(lock, true) }

func (s *Solution) edges(n Node, back bool) []Edge {
	halves := s.s.out.of(n)
	if back {
		halves = s.s.in.of(n)
	}
	list := make([]Edge, 0, len(halves))
	for _, h := range halves {
		e := Edge{n, h.to, h.sure}
		if back {
			e.From, e.To = h.to, n
		}
		list = append(list, e)
	}
	return list
}

// Chain is the way from a task to where its waiting ends: the task, the lock that
// it waits for, the task that holds it, and so on. Of several holders the surest
// is followed. It ends with a node that it has already where it runs into a
// deadlock.
func (s *Solution) Chain(task Node) []Node {
	s.s.begin(nil)
	chain := []Node{task}
	s.s.mark(task)
	for n := task; ; {
		next, sure := Node(-1), levels
		for _, e := range s.s.out.of(n) {
			if e.sure < sure {
				next, sure = e.to, e.sure
			}
		}
		if next < 0 {
			return chain
		}
		chain = append(chain, next)
		if !s.s.mark(next) {
			return chain
		}
		n = next
	}
}

// Behind is how many tasks wait for a task, or for a lock, directly or through
// others, hints included.
func (s *Solution) Behind(n Node) int {
	left := 0
	return s.s.behind([]Node{n}, &left, func(Node, half) bool { return true })
}
