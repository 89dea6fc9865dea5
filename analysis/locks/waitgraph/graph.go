// Package waitgraph answers who blocks whom, given who waits for which lock and
// who holds it: deadlocks as cycles, the roots that all waiting ends at, and the
// chain from one task to its root. It knows no kernel.
package waitgraph

import "fmt"

// Node is a task or a lock of a graph: a number that the graph gave it, from 0.
type Node int32

// Sure is how sure an edge is. The lowest value is the surest.
type Sure uint8

// The degrees of sureness.
const (
	Certain   Sure = iota // read off the dump
	Likely                // can hardly be otherwise
	Suspected             // inferred
	Hint                  // what was so once and may not be any more, such as the last reader of a rw_semaphore
	levels
)

// String names the degree.
func (s Sure) String() string {
	switch s {
	case Certain:
		return "certain"
	case Likely:
		return "likely"
	case Suspected:
		return "suspected"
	case Hint:
		return "hint"
	}
	return fmt.Sprintf("Sure(%d)", uint8(s))
}

// Edge leads from a task to a lock that it waits for, or from a lock to a task
// that holds it.
type Edge struct {
	From, To Node
	Sure     Sure
}

// Graph is tasks and locks, with who waits for what and who holds what. It is
// built by Task, Lock, Wait and Hold, and read by Solve.
type Graph struct {
	lock  []bool // by node: a lock, not a task
	edges []Edge
}

// Task adds a task.
func (g *Graph) Task() Node { return g.node(false) }

// Lock adds a lock.
func (g *Graph) Lock() Node { return g.node(true) }

func (g *Graph) node(lock bool) Node {
	g.lock = append(g.lock, lock)
	return Node(len(g.lock) - 1)
}

// Len is the number of nodes.
func (g *Graph) Len() int { return len(g.lock) }

// Wait says that a task waits for a lock.
func (g *Graph) Wait(task, lock Node, sure Sure) { g.edge(task, lock, sure, false) }

// Hold says that a task holds a lock.
func (g *Graph) Hold(lock, task Node, sure Sure) { g.edge(lock, task, sure, true) }

func (g *Graph) edge(from, to Node, sure Sure, lockFirst bool) {
	if g.lock[from] != lockFirst || g.lock[to] == lockFirst || sure >= levels {
		panic("waitgraph: an edge leads from a task to a lock that it waits for, or from a lock to the task that holds it")
	}
	g.edges = append(g.edges, Edge{from, to, sure})
}

// adjacency has the edges of each node side by side.
type adjacency struct {
	first []int32 // by node: where its edges begin; one more at the end
	edges []half
}

// half is an edge seen from one of its ends.
type half struct {
	to   Node
	sure Sure
}

// of are the edges of a node.
func (a *adjacency) of(n Node) []half { return a.edges[a.first[n]:a.first[n+1]] }

// sorted puts the edges in order by their first node, or by their second where
// back is set. An edge that is there more than once keeps its place each time.
func (g *Graph) sorted(back bool) adjacency {
	a := adjacency{first: make([]int32, len(g.lock)+1), edges: make([]half, len(g.edges))}
	ends := func(e *Edge) (Node, Node) {
		if back {
			return e.To, e.From
		}
		return e.From, e.To
	}
	for i := range g.edges {
		from, _ := ends(&g.edges[i])
		a.first[from+1]++
	}
	for i := range g.lock {
		a.first[i+1] += a.first[i]
	}
	next := append([]int32(nil), a.first[:len(g.lock)]...)
	for i := range g.edges {
		from, to := ends(&g.edges[i])
		a.edges[next[from]] = half{to, g.edges[i].Sure}
		next[from]++
	}
	return a
}
