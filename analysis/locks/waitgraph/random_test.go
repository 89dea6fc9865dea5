package waitgraph

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// naive is the second opinion: a matrix of who reaches whom, made by trying all
// detours, for edges that are sure enough.
type naive struct {
	g     *Graph
	edge  [][]bool
	reach [][]bool
}

func matrix(n int) [][]bool {
	m := make([][]bool, n)
	for i := range m {
		m[i] = make([]bool, n)
	}
	return m
}

func newNaive(g *Graph, pass func(Edge) bool) *naive {
	n := &naive{g, matrix(g.Len()), matrix(g.Len())}
	for _, e := range g.edges {
		if pass(e) {
			n.edge[e.From][e.To], n.reach[e.From][e.To] = true, true
		}
	}
	for via := range n.reach {
		for from := range n.reach {
			for to := range n.reach {
				n.reach[from][to] = n.reach[from][to] || n.reach[from][via] && n.reach[via][to]
			}
		}
	}
	return n
}

func (n *naive) together(a, b Node) bool { return a == b || n.reach[a][b] && n.reach[b][a] }

// knot counts the tasks of a node's component.
func (n *naive) knot(of Node) (tasks int) {
	for m := range n.reach {
		if !n.g.lock[m] && n.together(of, Node(m)) {
			tasks++
		}
	}
	return tasks
}

func upTo(level Sure) func(Edge) bool { return func(e Edge) bool { return e.Sure <= level } }

func random(r *rand.Rand) *Graph {
	g := &Graph{}
	var tasks, locks []Node
	for range 1 + r.IntN(7) {
		tasks = append(tasks, g.Task())
	}
	for range 1 + r.IntN(6) {
		locks = append(locks, g.Lock())
	}
	sure := func() Sure { return Sure(r.IntN(int(levels))) }
	if r.IntN(3) == 0 {
		sure = func() Sure { return Certain }
	}
	for range r.IntN(14) {
		g.Wait(tasks[r.IntN(len(tasks))], locks[r.IntN(len(locks))], sure())
	}
	for range r.IntN(12) {
		g.Hold(locks[r.IntN(len(locks))], tasks[r.IntN(len(tasks))], sure())
	}
	return g
}

// TestRandom holds cycles and roots of many small graphs against the matrix.
func TestRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	cycles, roots, dead, graphs := 0, 0, 0, 4000
	if testing.Short() {
		graphs = 1000
	}
	for i := range graphs {
		g := random(r)
		s := g.Solve()
		checkCycles(t, g, s)
		checkRoots(t, g, s)
		checkChains(t, g, s)
		if t.Failed() {
			t.Fatalf("graph %d: locks %v, edges %v, cycles %+v, roots %+v", i, g.lock, g.edges, s.Cycles, s.Roots)
		}
		cycles, roots = cycles+len(s.Cycles), roots+len(s.Roots)
		for i := range s.Roots {
			if s.Roots[i].Deadlock() {
				dead++
			}
		}
	}
	if cycles < graphs/4 || roots < graphs/2 || dead < graphs/10 {
		t.Errorf("%d cycles, %d roots, %d deadlocks: too few to show anything", cycles, roots, dead)
	}
}

func checkCycles(t *testing.T, g *Graph, s *Solution) {
	t.Helper()
	inCycle := make([]Sure, g.Len())
	for i := range inCycle {
		inCycle[i] = levels
	}
	for i, c := range s.Cycles {
		n := newNaive(g, upTo(c.Sure))
		strict := newNaive(g, func(e Edge) bool { return e.Sure < c.Sure })
		whole, weakest := len(c.Nodes) >= 2 && len(c.Nodes)%2 == 0 && !g.lock[c.Nodes[0]], false
		for j, from := range c.Nodes {
			to := c.Nodes[(j+1)%len(c.Nodes)]
			whole = whole && n.edge[from][to] && slices.Index(c.Nodes, from) == j
			weakest = weakest || !strict.edge[from][to]
			inCycle[from] = min(inCycle[from], c.Sure)
		}
		if !whole || c.Sure > Certain && !weakest {
			t.Errorf("%v is no %v cycle", c.Nodes, c.Sure)
		}
		if c.Knot != n.knot(c.Nodes[0]) {
			t.Errorf("the knot of %v has %d tasks, not %d", c.Nodes, n.knot(c.Nodes[0]), c.Knot)
		}
		if i > 0 && c.Sure < s.Cycles[i-1].Sure {
			t.Error("the surest cycles are not the first")
		}
	}
	for level := Certain; level < levels; level++ {
		n := newNaive(g, upTo(level))
		for task := range g.lock {
			if !g.lock[task] && n.reach[task][task] != (inCycle[task] <= level) {
				t.Errorf("task %d: by edges that are %v it is in a cycle: %v; told: %v", task, level, n.reach[task][task], inCycle[task])
			}
		}
	}
}

func checkRoots(t *testing.T, g *Graph, s *Solution) {
	t.Helper()
	all := newNaive(g, upTo(Hint))
	n := newNaive(g, func(e Edge) bool { return e.Sure < Hint || !all.together(e.From, e.To) })
	certain := newNaive(g, upTo(Certain))
	want := map[Node]bool{} // the first node of each root
	for i := range g.lock {
		node, root, waited := Node(i), true, false
		for m := range g.lock {
			if n.reach[i][m] && !n.reach[m][i] || m < i && n.together(node, Node(m)) {
				root = false
			}
			waited = waited || !g.lock[m] && m != i && n.reach[m][i]
		}
		if root && waited {
			want[node] = true
		}
		if root && n.reach[i][i] {
			want[node] = true
		}
	}
	for i, r := range s.Roots {
		if !want[r.Nodes[0]] {
			t.Errorf("%v is no root", r.Nodes)
		}
		delete(want, r.Nodes[0])
		checkRoot(t, g, n, certain, r)
		if i > 0 && r.All > s.Roots[i-1].All {
			t.Error("roots are out of order")
		}
	}
	if len(want) > 0 {
		t.Errorf("the roots %v are not told", want)
	}
}

func checkRoot(t *testing.T, g *Graph, n, certain *naive, r Root) {
	t.Helper()
	var members []Node
	direct, behind, sure := 0, 0, 0
	for i := range g.lock {
		node := Node(i)
		if n.together(node, r.Nodes[0]) {
			members = append(members, node)
			continue
		}
		if g.lock[i] {
			continue
		}
		near, surely := false, false
		for _, m := range r.Nodes {
			near = near || g.lock[m] && n.edge[i][m]
			surely = surely || certain.reach[i][m]
			for lock := range g.lock {
				near = near || n.edge[i][lock] && n.edge[lock][m]
			}
		}
		for _, c := range []struct {
			is bool
			n  *int
		}{{near, &direct}, {n.reach[i][r.Nodes[0]], &behind}, {surely, &sure}} {
			if c.is {
				*c.n++
			}
		}
	}
	if !slices.Equal(members, r.Nodes) || r.Deadlock() != (len(members) > 1) {
		t.Errorf("root %v has the members %v", r.Nodes, members)
	}
	if r.Direct != direct || r.All != behind || r.Sure != sure || r.AtLeast {
		t.Errorf("root %+v is waited for by %d directly, %d in all, %d surely", r, direct, behind, sure)
	}
}

func checkChains(t *testing.T, g *Graph, s *Solution) {
	t.Helper()
	n := newNaive(g, upTo(Hint))
	for i := range g.lock {
		if g.lock[i] {
			continue
		}
		chain := s.Chain(Node(i))
		for j := range chain[1:] {
			if !n.edge[chain[j]][chain[j+1]] {
				t.Errorf("chain %v: no edge from %d", chain, chain[j])
			}
		}
		last := chain[len(chain)-1]
		again := slices.Contains(chain[:len(chain)-1], last)
		if !again && slices.Contains(n.edge[last], true) {
			t.Errorf("chain %v ends too early", chain)
		}
		behind := 0
		for m := range g.lock {
			if m != i && !g.lock[m] && n.reach[m][i] {
				behind++
			}
		}
		if got := s.Behind(Node(i)); got != behind {
			t.Errorf("%d tasks are behind %d, not %d", behind, i, got)
		}
	}
}
