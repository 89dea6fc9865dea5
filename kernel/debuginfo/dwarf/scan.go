package dwarf

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// walker indexes units, one after the other. Each processor has one.
type walker struct {
	data   *Data
	names  *names
	table  shapes
	loaded tableKey
	seen   recent
	err    error // the first damage met
}

type tableKey struct {
	file                          *file
	offset                        uint64
	version, addrSize, offsetSize uint8
}

// scan indexes all units by all processors and brings the results together.
// What it returns does not depend on who was faster.
func (d *Data) scan() {
	workers := min(runtime.GOMAXPROCS(0), maxWorkers, max(1, len(d.units)/batchUnits))
	walkers := make([]*walker, workers)
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range walkers {
		w := &walker{data: d, names: newNames(&d.space, 0)}
		w.seen.init()
		walkers[i] = w
		wg.Go(func() { w.run(&next) })
	}
	wg.Wait()
	d.names = walkers[0].names
	for _, w := range walkers[1:] {
		for _, e := range w.names.entries {
			d.names.add(e, d.space.name(e.name))
		}
	}
	for _, w := range walkers {
		if d.damage == nil {
			d.damage = w.err
		}
	}
}

const (
	maxWorkers = 16 // more than that wait for memory, not for each other
	batchUnits = 16 // units that a walker takes at a time
)

func (w *walker) run(next *atomic.Int64) {
	for {
		first := int(next.Add(batchUnits)) - batchUnits
		if first >= len(w.data.units) {
			return
		}
		batch := w.data.units[first:min(first+batchUnits, len(w.data.units))]
		for i := range batch {
			if err := w.unit(&batch[i]); err != nil && w.err == nil {
				w.err = fmt.Errorf("%s: unit at %#x: %w", w.data.space.describe(batch[i].place(int(batch[i].start))), batch[i].start, err)
			}
		}
		w.data.release(batch)
	}
}

// load compiles the unit's abbreviations, unless they are the last ones used.
func (w *walker) load(u *unit) error {
	key := tableKey{u.file, u.abbrev, u.version, u.addrSize, u.offsetSize}
	if w.loaded == key {
		return nil
	}
	w.loaded = tableKey{}
	n, err := w.table.compile(u.file.Abbrev, u.abbrev, u)
	if err != nil {
		return err
	}
	if err := w.data.spend(n); err != nil {
		return err
	}
	w.loaded = key
	return nil
}

// unit enters the names at the top level of one unit.
func (w *walker) unit(u *unit) error {
	if err := w.load(u); err != nil {
		return err
	}
	c := cursor{data: u.data, off: int(u.die)}
	root, err := w.data.readDIE(u, c.off, &w.table)
	if err != nil {
		return err
	}
	u.root(&root)
	if !root.shape.children || u.language == langRust {
		return nil // in Rust the names of C's types mean others
	}
	c.off = root.next
	return w.walk(u, &c)
}

// walk goes over the DIEs below the root; at depth 1 it takes the names.
func (w *walker) walk(u *unit, c *cursor) error {
	var at [captures]int
	for depth := 1; depth > 0 && c.more(); {
		start := c.off
		code := c.uleb()
		if code == 0 {
			depth--
			continue
		}
		s := w.table.get(code)
		if s == nil {
			return fmt.Errorf("DIE at +%#x has abbreviation %d, which is not declared", start, code)
		}
		if s.size >= 0 {
			at[capName] = c.off + int(s.nameAt)
			at[capSibling] = c.off + int(s.sibAt)
			c.skip(uint64(s.size))
		} else {
			w.table.walk(c, s, u, &at)
		}
		if c.bad {
			return fmt.Errorf("DIE at +%#x goes beyond the unit's end", start)
		}
		if depth == 1 && s.kind != kindNone {
			w.take(u, s, start, &at)
		}
		if !s.children {
			continue
		}
		if s.sibForm == 0 {
			depth++
			continue
		}
		next := u.sibling(s, at[capSibling])
		if next < c.off {
			return fmt.Errorf("DIE at +%#x has its sibling at +%#x, which is not behind it", start, next)
		}
		c.off = next
	}
	return nil
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

// take enters one DIE, if it has a name.
func (w *walker) take(u *unit, s *shape, start int, at *[captures]int) {
	if s.slow {
		w.takeSlowly(u, start)
		return
	}
	if s.nameForm == 0 {
		return
	}
	q := s.quality(u, at)
	die := u.place(start)
	c := cursor{data: u.data, off: at[capName]}
	name, _ := readString(&c, uint64(s.nameForm), u)
	if name == 0 || s.nameForm == formString && u.data[at[capName]] == 0 {
		return
	}
	w.enter(s.kind, q, name, die, s.nameForm != formString)
}

// enter puts a name into the table, by way of what was recently seen: most
// names come from headers and are met in thousands of units, at the same place
// of .debug_str.
func (w *walker) enter(kind nameKind, q quality, name, die place, shared bool) {
	if shared {
		if i, ok := w.seen.get(kind, name); ok {
			if e := &w.names.entries[i]; e.better(q, die) {
				e.quality, e.die = q, die
			}
			return
		}
	}
	text := w.data.space.name(name)
	if len(text) == 0 {
		return
	}
	i := w.names.add(entry{name, die, hashName(kind, text), kind, q}, text)
	if shared {
		w.seen.put(kind, name, uint32(i))
	}
}

// takeSlowly enters a DIE that has its name from another one, such as the
// definition of init_task, which follows its declaration.
func (w *walker) takeSlowly(u *unit, start int) {
	die, err := w.data.readDIE(u, start, &w.table)
	if err != nil {
		return
	}
	name := die.name
	external := die.external
	for range 4 {
		if name != 0 || die.specification == 0 {
			break
		}
		origin := w.data.unitAt(die.specification)
		if origin != u {
			return
		}
		if die, err = w.data.readDIE(u, int(die.specification-u.base), &w.table); err != nil {
			return
		}
		name = die.name
		external = external || die.external
	}
	if name == 0 {
		return
	}
	q := localDefinition
	if external {
		q = definition
	}
	w.enter(kindOfTag(die.shape.tag), q, name, u.place(start), false)
}

// quality tells how good a DIE is as the meaning of its name.
func (s *shape) quality(u *unit, at *[captures]int) quality {
	declared, external := s.declared, s.external
	if s.size < 0 { // old forms of flags have a byte
		if p := at[capDeclaration]; p != 0 {
			declared = u.data[p] != 0
		}
		if p := at[capExternal]; p != 0 {
			external = u.data[p] != 0
		}
	}
	switch {
	case declared:
		return declaration
	case s.kind < kindVariable || external:
		return definition
	}
	return localDefinition
}
