package dwarf

import (
	"fmt"
)

// top goes over the DIEs below the root of a unit that may have a name at the
// top level of C.
type top struct {
	unit  *unit
	table *shapes
	c     cursor
	depth int
	err   error
	root  die  // the unit's own DIE
	deep  bool // goes into functions too

	shape *shape
	start int           // offset of the DIE in the section
	at    [captures]int // where the captured attributes are
	open  bool          // its children have not been passed yet
}

// top starts at a unit whose abbreviations are compiled.
func (d *Data) top(u *unit, table *shapes) (*top, error) {
	root, err := d.readDIE(u, int(u.die), table)
	if err != nil {
		return nil, err
	}
	t := &top{unit: u, table: table, c: cursor{data: u.data, off: root.next}, root: root}
	if root.shape.children {
		t.depth = 1
	}
	return t, nil
}

// next moves on to the next such DIE.
func (t *top) next() bool {
	if t.open && !t.pass() {
		return false
	}
	for t.depth > 0 && t.c.more() {
		start := t.c.off
		code := t.c.uleb()
		if code == 0 {
			t.depth--
			continue
		}
		s := t.table.get(code)
		if s == nil {
			return t.fail(start, fmt.Sprintf("has abbreviation %d, which is not declared", code))
		}
		if s.size >= 0 {
			t.at[capName] = t.c.off + int(s.nameAt)
			t.at[capSibling] = t.c.off + int(s.sibAt)
			t.c.skip(uint64(s.size))
		} else {
			t.table.walk(&t.c, s, t.unit, &t.at)
		}
		if t.c.bad {
			return t.fail(start, "goes beyond the unit's end")
		}
		t.shape, t.start, t.open = s, start, s.children
		if (t.depth == 1 || t.deep) && s.kind != kindNone {
			return true
		}
		if t.open && !t.pass() {
			return false
		}
	}
	return false
}

// pass moves behind the children of the current DIE, by its sibling where it
// names one, or else into them.
func (t *top) pass() bool {
	t.open = false
	if t.shape.sibForm == 0 || t.deep && t.shape.tag == tagSubprogram || t.deep && t.shape.tag == tagLexicalBlock {
		t.depth++
		return true
	}
	next := t.unit.sibling(t.shape, t.at[capSibling])
	if next < t.c.off {
		return t.fail(t.start, "has a sibling that is not behind it")
	}
	t.c.off = next
	return true
}

func (t *top) fail(start int, what string) bool {
	t.err = fmt.Errorf("DIE at +%#x %s", start, what)
	return false
}

// walk moves over a DIE whose size varies.
func (t *shapes) walk(c *cursor, s *shape, u *unit, at *[captures]int) {
	*at = [captures]int{}
	for _, st := range t.steps[s.steps:s.lastStep] {
		switch st.op {
		case stepSkip:
			c.skip(uint64(st.arg))
		case stepCapture:
			at[st.arg] = c.off
		default:
			st.run(c, u)
		}
	}
}

// sibling reads the reference to the next DIE on the same level.
func (u *unit) sibling(s *shape, at int) int {
	c := cursor{data: u.data, off: at}
	if s.sibForm == formRef4 {
		return u.within(uint64(c.u32()))
	}
	v := readValue(&c, uint64(s.sibForm), 0, u)
	p := place(v.u)
	if v.class != classReference || p < u.base || p >= u.end() {
		return -1
	}
	return int(p - u.base)
}
