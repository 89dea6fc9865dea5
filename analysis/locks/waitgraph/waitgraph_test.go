package waitgraph_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/locks/waitgraph"
)

func ExampleGraph_Solve() {
	names := map[waitgraph.Node]string{}
	var g waitgraph.Graph
	task := func(name string) waitgraph.Node { n := g.Task(); names[n] = name; return n }
	lock := func(name string) waitgraph.Node { n := g.Lock(); names[n] = name; return n }
	a, b, c := task("A"), task("B"), task("C")
	m1, m2 := lock("m1"), lock("m2")
	g.Hold(m1, a, waitgraph.Certain)
	g.Hold(m2, b, waitgraph.Certain)
	g.Wait(a, m2, waitgraph.Certain)
	g.Wait(b, m1, waitgraph.Certain)
	g.Wait(c, m2, waitgraph.Certain)

	s := g.Solve()
	for _, cycle := range s.Cycles {
		fmt.Print(cycle.Sure, " deadlock:")
		for _, n := range cycle.Nodes {
			fmt.Print(" ", names[n])
		}
		fmt.Println()
	}
	fmt.Println(s.Roots[0].Direct, "more wait for it")
	// Output:
	// certain deadlock: A m2 B m1
	// 1 more wait for it
}

// TestLongChain is a chain that recursion would not survive cheaply, a lock with many
// holders and waiters, and two such locks with the same holders, where counting is
// quadratic and so bounded.
func TestLongChain(t *testing.T) {
	if testing.Short() {
		t.Skip("short run: a large graph is solved")
	}
	var g waitgraph.Graph
	const length = 50000
	first := g.Task()
	for last, i := first, 0; i < length; i++ {
		lock, next := g.Lock(), g.Task()
		g.Wait(last, lock, waitgraph.Certain)
		g.Hold(lock, next, waitgraph.Certain)
		last = next
	}
	const crowd = 3000
	crowded, one, two := g.Lock(), g.Lock(), g.Lock()
	for range crowd {
		g.Hold(crowded, g.Task(), waitgraph.Suspected)
		g.Wait(g.Task(), crowded, waitgraph.Certain)
		both := g.Task()
		g.Hold(one, both, waitgraph.Certain)
		g.Hold(two, both, waitgraph.Certain)
		g.Wait(g.Task(), one, waitgraph.Certain)
	}
	start := time.Now()
	s := g.Solve()
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
	if len(s.Cycles) != 0 || len(s.Roots) != 2*crowd+1 || len(s.Chain(first)) != 2*length+1 {
		t.Errorf("%d cycles, %d roots", len(s.Cycles), len(s.Roots))
	}
	bounded := 0
	for _, r := range s.Roots {
		switch {
		case r.AtLeast:
			bounded++
		case r.Direct == 1 && r.All == length && r.Sure == length:
		case r.Direct == crowd && r.All == crowd && (r.Sure == 0 || r.Sure == crowd):
		default:
			t.Fatalf("root %+v", r)
		}
	}
	if bounded == 0 || bounded > crowd+1 {
		t.Errorf("%d roots are counted in part", bounded)
	}
}

func TestWrongEdges(t *testing.T) {
	for name, add := range map[string]func(g *waitgraph.Graph, task, lock waitgraph.Node){
		"wait for a task": func(g *waitgraph.Graph, task, _ waitgraph.Node) { g.Wait(task, task, waitgraph.Certain) },
		"held by a lock":  func(g *waitgraph.Graph, _, lock waitgraph.Node) { g.Hold(lock, lock, waitgraph.Certain) },
		"sureness":        func(g *waitgraph.Graph, task, lock waitgraph.Node) { g.Wait(task, lock, 4) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: taken", name)
				}
			}()
			var g waitgraph.Graph
			add(&g, g.Task(), g.Lock())
		}()
	}
}

// BenchmarkSolve is 10,000 tasks that wait for 500 locks in chains of depth 20.
func BenchmarkSolve(b *testing.B) {
	var g waitgraph.Graph
	for range 25 {
		var above waitgraph.Node
		for depth := range 20 {
			lock, owner := g.Lock(), g.Task()
			g.Hold(lock, owner, waitgraph.Certain)
			if depth > 0 {
				g.Wait(owner, above, waitgraph.Certain)
			}
			for range 19 {
				g.Wait(g.Task(), lock, waitgraph.Certain)
			}
			above = lock
		}
	}
	for b.Loop() {
		g.Solve()
	}
	b.ReportMetric(float64(g.Len())*float64(b.N)/b.Elapsed().Seconds(), "nodes/s")
}
