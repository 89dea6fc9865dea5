package waitgraph

// components numbers the strongly connected components of the edges that pass:
// two nodes have the same number when each can be reached from the other. A
// component has a lower number than those that lead to it. Tarjan's algorithm,
// without recursion, as a chain of waiting tasks may be very long.
func (a *adjacency) components(pass func(from Node, e half) bool) (of []int32, count int) {
	n := len(a.first) - 1
	t := tarjan{adjacency: a, pass: pass, index: make([]int32, n), low: make([]int32, n), next: make([]int32, n), of: make([]int32, n)}
	for i := range t.of {
		t.of[i] = -1
	}
	for i := range n {
		if t.index[i] == 0 {
			t.visit(Node(i))
		}
	}
	return t.of, int(t.count)
}

type tarjan struct {
	*adjacency
	pass  func(Node, half) bool
	index []int32 // when a node was first seen, from 1
	low   []int32 // the earliest node that it leads back to
	next  []int32 // which of its edges comes next
	of    []int32
	path  []Node // from the first node to the present one
	stack []Node // nodes whose component is not complete
	seen  int32
	count int32
}

func (t *tarjan) enter(n Node) {
	t.seen++
	t.index[n], t.low[n] = t.seen, t.seen
	t.path, t.stack = append(t.path, n), append(t.stack, n)
}

func (t *tarjan) visit(root Node) {
	t.enter(root)
	for len(t.path) > 0 {
		n := t.path[len(t.path)-1]
		edges := t.adjacency.of(n)
		if int(t.next[n]) == len(edges) {
			t.leave(n)
			continue
		}
		e := edges[t.next[n]]
		t.next[n]++
		switch {
		case !t.pass(n, e):
		case t.index[e.to] == 0:
			t.enter(e.to)
		case t.of[e.to] < 0:
			t.low[n] = min(t.low[n], t.index[e.to])
		}
	}
}

// leave ends a node all of whose edges were followed.
func (t *tarjan) leave(n Node) {
	t.path = t.path[:len(t.path)-1]
	if len(t.path) > 0 {
		above := t.path[len(t.path)-1]
		t.low[above] = min(t.low[above], t.low[n])
	}
	if t.low[n] != t.index[n] {
		return
	}
	for {
		last := t.stack[len(t.stack)-1]
		t.stack = t.stack[:len(t.stack)-1]
		t.of[last] = t.count
		if last == n {
			break
		}
	}
	t.count++
}
