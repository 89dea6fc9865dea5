package drawing

import (
	"io"
	"strconv"
	"strings"

	"github.com/emicklei/dot"

	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/kernel/lock"
)

// The colours of both forms.
const (
	colourDeadlock = "#c00000"
	colourRoot     = "#ffe08a"
	colourLock     = "#e8eef7"
	colourGone     = "#e0e0e0"
	colourTask     = "#ffffff"
)

func (b *box) fill() string {
	switch {
	case b.gone:
		return colourGone
	case b.root:
		return colourRoot
	case b.lock:
		return colourLock
	}
	return colourTask
}

// DOT writes the graph in the DOT language of Graphviz. Errors are those of w.
func DOT(w io.Writer, r *locks.Report) error {
	p := newPicture(r)
	g := dot.NewGraph(dot.Directed)
	g.ID("locks")
	g.Attr("rankdir", "LR")
	g.Attr("label", caption(r, p))
	nodes := make([]dot.Node, len(p.boxes))
	for i := range p.boxes {
		b := &p.boxes[i]
		n := g.Node(strconv.Itoa(i)).Attr("label", strings.Join(b.label, "\n")).Attr("style", "filled").Attr("fillcolor", b.fill()).Attr("shape", "ellipse")
		if b.lock {
			n.Attr("shape", "box")
		} else if b.tasks > 1 {
			n.Attr("shape", "folder")
		}
		if b.deadlock {
			n.Attr("color", colourDeadlock)
		}
		nodes[i] = n
	}
	for i := range p.lines {
		l := &p.lines[i]
		e := g.Edge(nodes[l.from], nodes[l.to], l.label)
		if l.deadlock {
			e.Attr("color", colourDeadlock).Attr("penwidth", "2")
		}
		switch l.sure {
		case lock.Suspected:
			e.Dashed()
		case lock.Hint:
			e.Dotted()
		}
	}
	_, err := io.WriteString(w, g.String())
	return err
}

// caption says what the picture shows.
func caption(r *locks.Report, p *picture) string {
	s := "tasks that wait asleep: " + strconv.Itoa(r.Blocked) + ", spinning: " + strconv.Itoa(r.Spinning) + "; waiting goes to the right; yellow: where it ends; " +
		"red: deadlocks; dashed: suspected; dotted: a hint"
	if p.left > 0 {
		s += "; " + strconv.Itoa(p.left) + " tasks and locks are not drawn"
	}
	return s
}
