package waitgraph

// Cycle is a deadlock: each task waits for the lock behind it, which the task
// behind that holds, and the last lock is held by the first task.
type Cycle struct {
	Nodes []Node // a task, the lock that it waits for, the task that holds it, and so on
	Sure  Sure   // that of the least sure edge
	// Knot is how many tasks are in the strongly connected component: more than in
	// the cycle where cycles share tasks or locks.
	Knot int
}

// maxCycles bounds how many cycles of one component are told. Together they hold
// each node at most a few times, but there may be exponentially many of them.
const maxCycles = 8

// cycles finds the cycles, the surest first. Those of certain edges come from a
// graph of certain edges only; a less sure one is told for nodes that are in no
// surer one.
func (s *solver) cycles() []Cycle {
	var list []Cycle
	told := make([]bool, s.g.Len())
	for level := Certain; level < levels; level++ {
		of, count := s.out.components(func(_ Node, e half) bool { return e.sure <= level })
		for _, members := range s.knots(of, count) {
			list = append(list, s.untie(members, of, level, told)...)
		}
	}
	return list
}

// knots are the components with more than one node, each in the order of its nodes.
// An edge never joins a node with itself, so one node is no cycle.
func (s *solver) knots(of []int32, count int) [][]Node {
	size := make([]int32, count)
	for _, c := range of {
		size[c]++
	}
	place := make([]int32, count)
	var list [][]Node
	for n, c := range of {
		if size[c] < 2 {
			continue
		}
		if place[c] == 0 {
			list = append(list, make([]Node, 0, size[c]))
			place[c] = int32(len(list))
		}
		list[place[c]-1] = append(list[place[c]-1], Node(n))
	}
	return list
}

// untie tells cycles of a component until each task is in one that was told, or
// there are enough of them.
func (s *solver) untie(members []Node, of []int32, level Sure, told []bool) []Cycle {
	tasks := 0
	for _, n := range members {
		if !s.g.lock[n] {
			tasks++
		}
	}
	var list []Cycle
	for _, n := range members {
		if s.g.lock[n] || told[n] {
			continue
		}
		if len(list) == maxCycles {
			break
		}
		nodes, sure := s.shortest(n, of, level)
		for _, m := range nodes {
			told[m] = true
		}
		list = append(list, Cycle{Nodes: nodes, Sure: sure, Knot: tasks})
	}
	// The rest of the knot is not told again as a less sure one.
	for _, n := range members {
		told[n] = true
	}
	return list
}

// shortest is the shortest cycle through a task of a component: breadth first.
func (s *solver) shortest(start Node, of []int32, level Sure) ([]Node, Sure) {
	queue := append(s.queue[:0], start)
	s.touched = append(s.touched[:0], start)
	defer func() {
		for _, n := range s.touched {
			s.from[n] = -1
		}
		s.queue = queue
	}()
	for i := 0; i < len(queue); i++ {
		n := queue[i]
		for _, e := range s.out.of(n) {
			if e.sure > level || of[e.to] != of[start] {
				continue
			}
			if e.to == start {
				return s.closed(start, n, level)
			}
			if s.from[e.to] < 0 {
				s.from[e.to] = n
				s.touched = append(s.touched, e.to)
				queue = append(queue, e.to)
			}
		}
	}
	panic("waitgraph: a component without a cycle") // cannot be: it has two nodes that lead to each other
}

// closed follows the steps of a search back from the last node to the first.
func (s *solver) closed(start, last Node, level Sure) ([]Node, Sure) {
	var nodes []Node
	for n := last; n != start; n = s.from[n] {
		nodes = append(nodes, n)
	}
	nodes = append(nodes, start)
	for i, j := 0, len(nodes)-1; i < j; i, j = i+1, j-1 {
		nodes[i], nodes[j] = nodes[j], nodes[i]
	}
	sure := Certain
	for i, n := range nodes {
		sure = max(sure, s.surest(n, nodes[(i+1)%len(nodes)], level))
	}
	return nodes, sure
}

// surest is the surest of the edges between two nodes.
func (s *solver) surest(from, to Node, level Sure) Sure {
	best := level
	for _, e := range s.out.of(from) {
		if e.to == to {
			best = min(best, e.sure)
		}
	}
	return best
}
