package drawing

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/kernel/lock"
)

const margin = 20.0

// SVG writes the graph as a picture that stands for itself: no script, no font, no
// style from elsewhere. Errors are those of w.
func SVG(w io.Writer, r *locks.Report) error {
	p := newPicture(r)
	l := arrange(p)
	var out bytes.Buffer
	text := caption(r, p)
	width, height := max(l.width, float64(len(text))*charWidth*0.8)+2*margin, l.height+2*margin+2*lineHeight
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="monospace" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprint(&out, "<title>who blocks whom</title>\n<defs>")
	marker(&out, "a", "#404040")
	marker(&out, "d", colourDeadlock)
	fmt.Fprintf(&out, "</defs>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n<text x=\"%.0f\" y=\"%.0f\" font-size=\"10\">%s</text>\n<g transform=\"translate(%.0f %.0f)\">\n",
		margin, margin, escape(text), margin, margin+lineHeight)
	for i := range l.lines {
		l.line(&out, i)
	}
	for i := range l.boxes {
		l.box(&out, i)
	}
	fmt.Fprint(&out, "</g>\n</svg>\n")
	_, err := w.Write(out.Bytes())
	return err
}

func marker(out *bytes.Buffer, id, colour string) {
	fmt.Fprintf(out, `<marker id="%s" viewBox="0 0 10 10" refX="10" refY="5" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L10 5L0 10z" fill="%s"/></marker>`, id, colour)
}

// escape makes text fit for XML.
func escape(s string) string {
	var out bytes.Buffer
	_ = xml.EscapeText(&out, []byte(s)) // a buffer takes everything
	return out.String()
}

func (l *layout) box(out *bytes.Buffer, i int) {
	b, s := &l.boxes[i], &l.spots[i]
	round, stroke, width := 12.0, "#404040", 1.0
	if b.lock {
		round = 0
	}
	if b.deadlock {
		stroke, width = colourDeadlock, 2
	}
	fmt.Fprintf(out, "<g><title>%s</title>", escape(strings.Join(b.label, "\n")))
	if b.tasks > 1 {
		fmt.Fprintf(out, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%.0f" fill="%s" stroke="%s"/>`, s.x+4, s.y+4, s.w, s.h, round, b.fill(), stroke)
	}
	fmt.Fprintf(out, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%.0f" fill="%s" stroke="%s" stroke-width="%.0f"/>`, s.x, s.y, s.w, s.h, round, b.fill(), stroke, width)
	for n, text := range b.label {
		if runes := []rune(text); len(runes) > maxChars {
			text = string(runes[:maxChars-1]) + "…"
		}
		fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, s.x+s.w/2, s.y+padding+lineHeight*(float64(n)+0.75), escape(text))
	}
	fmt.Fprint(out, "</g>\n")
}

// line draws a curve through the spots of a line, with its label at the middle.
func (l *layout) line(out *bytes.Buffer, i int) {
	path := l.paths[i]
	from, to := &l.spots[path[0]], &l.spots[path[len(path)-1]]
	x1, y1 := from.x+from.w, from.y+from.h/2
	x2, y2 := to.x, to.y+to.h/2
	if back := to.layer < from.layer; back { // a part of a cycle: it goes to the left
		x1, x2 = from.x, to.x+to.w
		y1, y2 = y1+from.h/4, y2+to.h/4
	}
	var d strings.Builder
	fmt.Fprintf(&d, "M%.1f %.1f", x1, y1)
	px, py := x1, y1
	curve := func(x, y float64) {
		middle := (px + x) / 2
		fmt.Fprintf(&d, "C%.1f %.1f %.1f %.1f %.1f %.1f", middle, py, middle, y, x, y)
		px, py = x, y
	}
	for _, s := range path[1 : len(path)-1] {
		curve(l.spots[s].x, l.spots[s].y+l.spots[s].h/2)
	}
	labelX, labelY := px, py
	curve(x2, y2)
	labelX, labelY = (labelX+x2)/2, (labelY+y2)/2
	ln := &l.lines[i]
	colour, id, width, dash := "#404040", "a", 1.0, ""
	if ln.deadlock {
		colour, id, width = colourDeadlock, "d", 2
	}
	switch ln.sure {
	case lock.Suspected:
		dash = ` stroke-dasharray="7 4"`
	case lock.Hint:
		dash = ` stroke-dasharray="2 3"`
	}
	fmt.Fprintf(out, `<g><title>%s, %s</title><path d="%s" fill="none" stroke="%s" stroke-width="%.0f"%s marker-end="url(#%s)"/>`, escape(ln.label), escape(string(ln.sure)), d.String(), colour, width, dash, id)
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="middle" font-size="9" fill="%s" stroke="#ffffff" stroke-width="3" paint-order="stroke">%s</text></g>`+"\n", labelX, labelY-3, colour, escape(ln.label))
}
