package drawing_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/analysis/locks/drawing"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/lock"
)

// snapshot is put together by numbers: tasks by name, waits and holds as {task, lock}.
func snapshot(tasks []string, locksN int, waits, holds [][2]int) *lock.Snapshot {
	s := &lock.Snapshot{}
	for i, name := range tasks {
		s.Tasks = append(s.Tasks, lock.Task{Addr: kernel.Addr(0xffff888000010000 + uint64(i)*0x1000), PID: int32(100 + i), Comm: name, State: "D"})
	}
	for i := range locksN {
		s.Locks = append(s.Locks, lock.Lock{Kind: lock.Mutex, Addr: kernel.Addr(0xffffffff82000000 + uint64(i)*0x40), Symbol: fmt.Sprintf("m%d", i)})
	}
	for _, w := range waits {
		s.Waits = append(s.Waits, lock.Wait{Task: w[0], Lock: w[1], Sure: lock.Certain, For: uint64(75 * time.Second), Known: true})
	}
	for _, h := range holds {
		s.Holds = append(s.Holds, lock.Hold{Task: h[0], Lock: h[1], Method: lock.ByOwner, Sure: lock.Certain})
	}
	return s
}

// tangle is a deadlock with someone behind it, a lock with many waiters, one of
// them with a lock of its own, a suspected holder, a hint, and a name that is hostile.
func tangle() *lock.Snapshot {
	tasks := []string{"A", "B", "late", "root", "mid", "leaf", `<b>"&\x1b`, "reader"}
	waits := [][2]int{{0, 1}, {1, 0}, {2, 0}, {4, 2}, {5, 3}, {6, 4}, {3, 5}}
	for range 40 {
		waits = append(waits, [2]int{len(tasks), 2})
		tasks = append(tasks, fmt.Sprintf("worker/%d", len(tasks)%3))
	}
	s := snapshot(tasks, 6, waits, [][2]int{{0, 0}, {1, 1}, {3, 2}, {4, 3}, {5, 4}, {7, 5}})
	s.Holds[4].Sure, s.Holds[4].Method = lock.Suspected, lock.ByCode
	s.Holds[5].Sure, s.Holds[5].Method = lock.Hint, lock.ByReader
	return s
}

func draw(t testing.TB, s *lock.Snapshot, as func(io.Writer, *locks.Report) error) string {
	t.Helper()
	var out bytes.Buffer
	if err := as(&out, locks.Build(s)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestDOT(t *testing.T) {
	text := draw(t, tangle(), drawing.DOT)
	if again := draw(t, tangle(), drawing.DOT); again != text {
		t.Error("the same graph is drawn in two ways")
	}
	node := regexp.MustCompile(`(?m)^\s*n(\d+)\[.*\];`)
	edge := regexp.MustCompile(`(?m)^\s*n(\d+)->n(\d+)\[.*\];`)
	nodes := map[string]bool{}
	for _, g := range node.FindAllStringSubmatch(text, -1) {
		nodes[g[1]] = true
	}
	// 8 tasks, one box for the 40 workers, 6 locks; 8 waits, the workers' as one, and 6 holds.
	edges := edge.FindAllStringSubmatch(text, -1)
	if len(nodes) != 8+1+6 || len(edges) != 8+6 {
		t.Errorf("%d nodes, %d edges in\n%s", len(nodes), len(edges), text)
	}
	for _, g := range edges {
		if !nodes[g[1]] || !nodes[g[2]] {
			t.Errorf("%s leads to nowhere", g[0])
		}
	}
	for want, n := range map[string]int{"penwidth": 4, "dashed": 2, "dotted": 2, "40 tasks": 1, `\\x1b`: 1, "waits 1m15s": 8} {
		if got := strings.Count(text, want); got != n && want != "dashed" && want != "dotted" || got == 0 {
			t.Errorf("%d times %q, not %d, in\n%s", got, want, n, text)
		}
	}
}

// shapes are the rectangles and texts of an SVG, which must be well formed.
func shapes(t *testing.T, svg string) (rects [][4]float64, texts []string, width, height float64) {
	t.Helper()
	number := func(e xml.StartElement, name string) float64 {
		for _, a := range e.Attr {
			if a.Name.Local == name {
				n, err := strconv.ParseFloat(a.Value, 64)
				if err != nil && a.Value != "100%" {
					t.Fatal(err)
				}
				return n
			}
		}
		return 0
	}
	d := xml.NewDecoder(strings.NewReader(svg))
	inText, filter := false, 0.0
	for {
		token, err := d.Token()
		if err == io.EOF {
			return rects, texts, width, height
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "svg":
				width, height = number(e, "width"), number(e, "height")
			case "rect":
				if x := number(e, "stroke-width"); x > filter {
					rects = append(rects, [4]float64{number(e, "x"), number(e, "y"), number(e, "width"), number(e, "height")})
				}
			}
			inText = e.Name.Local == "text"
		case xml.CharData:
			if inText {
				texts = append(texts, string(e))
			}
		case xml.EndElement:
			inText = false
		}
	}
}

func TestSVG(t *testing.T) {
	svg := draw(t, tangle(), drawing.SVG)
	if name := os.Getenv("MORTEM_DRAW"); name != "" {
		if err := os.WriteFile(name, []byte(svg), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rects, texts, _, _ := shapes(t, svg)
	if len(rects) != 15 || strings.Contains(svg, "<b>") || strings.Contains(svg, "script") {
		t.Errorf("%d boxes in\n%s", len(rects), svg)
	}
	if all := strings.Join(texts, "\n"); !strings.Contains(all, `106 "<b>"&\x1b"`) || !strings.Contains(all, "40 tasks") {
		t.Errorf("texts: %q", texts)
	}
}

// TestNothingTouches: whatever the graph, no box lies on another or outside.
func TestNothingTouches(t *testing.T) {
	for name, s := range map[string]*lock.Snapshot{
		"tangle": tangle(), "nothing": {},
		"self": snapshot([]string{"A"}, 1, [][2]int{{0, 0}}, [][2]int{{0, 0}}),
		"many": many(500, 20),
	} {
		rects, _, width, height := shapes(t, draw(t, s, drawing.SVG))
		for i, a := range rects {
			if a[0] < 0 || a[1] < 0 || a[0]+a[2] > width || a[1]+a[3] > height {
				t.Errorf("%s: box %v lies outside of %v by %v", name, a, width, height)
			}
			for _, b := range rects[i+1:] {
				if a[0] < b[0]+b[2] && b[0] < a[0]+a[2] && a[1] < b[1]+b[3] && b[1] < a[1]+a[3] {
					t.Fatalf("%s: boxes %v and %v touch", name, a, b)
				}
			}
		}
	}
}

// many is locks in chains, each with twenty waiters.
func many(n, depth int) *lock.Snapshot {
	var tasks []string
	var waits, holds [][2]int
	for i := range n {
		owner := len(tasks)
		tasks = append(tasks, "owner")
		holds = append(holds, [2]int{owner, i})
		if i%depth > 0 {
			waits = append(waits, [2]int{owner, i - 1})
		}
		for range 19 {
			waits = append(waits, [2]int{len(tasks), i})
			tasks = append(tasks, "waiter")
		}
	}
	return snapshot(tasks, n, waits, holds)
}

// TestTooLarge: a picture is bounded, and says what is left out.
func TestTooLarge(t *testing.T) {
	text := draw(t, many(3000, 3000), drawing.DOT)
	if !strings.Contains(text, "are not drawn") || len(text) > 1<<20 {
		t.Errorf("%d bytes: %.300s", len(text), text)
	}
}

func ExampleDOT() {
	s := snapshot([]string{"A", "B"}, 1, [][2]int{{1, 0}}, [][2]int{{0, 0}})
	var out bytes.Buffer
	if err := drawing.DOT(&out, locks.Build(s)); err != nil {
		fmt.Println(err)
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "->") {
			fmt.Print(strings.TrimSpace(line), "\n")
		}
	}
	// Output:
	// n1->n2[label="held: owner"];
	// n3->n1[label="waits 1m15s"];
}

func ExampleSVG() {
	s := snapshot([]string{"A", "B"}, 1, [][2]int{{1, 0}}, [][2]int{{0, 0}})
	var out bytes.Buffer
	if err := drawing.SVG(&out, locks.Build(s)); err != nil {
		fmt.Println(err)
	}
	fmt.Println(strings.Count(out.String(), "<path d=\"M") > 0)
	// Output: true
}

func ExampleDuration() {
	for _, ns := range []uint64{1500, 1_260_000_000, 3_725_400_000_000} {
		fmt.Println(drawing.Duration(ns))
	}
	// Output:
	// 2µs
	// 1.3s
	// 1h2m5s
}
