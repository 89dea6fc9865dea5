package dwarf

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// walker goes over units one after the other and collects names. Each
// processor has one.
type walker struct {
	data   *Data
	names  *names
	table  shapes
	loaded tableKey
	budget *budget
	seen   recent
	places []place // what AllTypes finds
	err    error   // the first damage met
}

type tableKey struct {
	file                          *file
	offset                        uint64
	version, addrSize, offsetSize uint8
}

const (
	maxWorkers = 16 // more than that wait for memory, not for each other
	batchUnits = 16 // units that a walker takes at a time
)

// scanNames makes an index of names by visiting all units.
func (d *Data) scanNames(visit func(*walker, *unit) error) (*names, error) {
	walkers, err := d.scan(visit)
	all := walkers[0].names
	for _, w := range walkers[1:] {
		for _, e := range w.names.entries {
			all.add(e, d.space.name(e.name))
		}
	}
	return all, err
}

// scan visits all units by all processors. What was found does not depend on who
// was faster, once it is brought together.
func (d *Data) scan(visit func(*walker, *unit) error) ([]*walker, error) {
	workers := min(runtime.GOMAXPROCS(0), maxWorkers, max(1, len(d.units)/batchUnits))
	walkers := make([]*walker, workers)
	budget := d.space.newBudget()
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range walkers {
		w := &walker{data: d, names: newNames(&d.space), budget: budget}
		w.seen.init()
		walkers[i] = w
		wg.Go(func() { w.err = d.guard(func() error { return w.run(&next, visit) }) })
	}
	wg.Wait()
	var err error
	for _, w := range walkers {
		if err == nil {
			err = w.err
		}
	}
	return walkers, err
}

// run visits batches of units until none is left. Damage to one unit does not
// stop it.
func (w *walker) run(next *atomic.Int64, visit func(*walker, *unit) error) error {
	var first error
	for {
		i := int(next.Add(batchUnits)) - batchUnits
		if i >= len(w.data.units) {
			return first
		}
		batch := w.data.units[i:min(i+batchUnits, len(w.data.units))]
		for i := range batch {
			u := &batch[i]
			if err := visit(w, u); err != nil && first == nil {
				first = fmt.Errorf("unit at %s: %w", w.data.space.describe(u.place(int(u.start))), err)
			}
		}
		w.data.releaseUnits(batch)
	}
}

// open starts going over a unit.
func (w *walker) open(u *unit) (*top, error) {
	key := u.tableKey()
	if w.loaded != key {
		w.loaded = tableKey{}
		n, err := w.table.compile(u.file.Abbrev, u.abbrev, u)
		if err == nil {
			err = w.budget.spend(n)
		}
		if err != nil {
			return nil, err
		}
		w.loaded = key
	}
	return w.data.top(u, &w.table)
}

// index enters the names at the top level of one unit.
func (w *walker) index(u *unit) error {
	t, err := w.open(u)
	if err != nil {
		return err
	}
	if !w.data.rooted {
		u.root(&t.root)
	}
	if u.language == langRust {
		return nil // in Rust the names of C's types mean others
	}
	for t.next() {
		w.take(u, t.shape, t.start, &t.at)
	}
	return t.err
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
	c := cursor{data: u.data, off: at[capName]}
	name, _ := readString(&c, uint64(s.nameForm), u)
	if name != 0 {
		w.enter(s.kind, s.quality(u, at), name, u.place(start), s.nameForm != formString)
	}
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
	if err != nil || die.declared {
		return
	}
	name, external := die.name, die.external
	for range maxHops {
		if name != 0 || die.specification < u.place(int(u.die)) || die.specification >= u.end() {
			break
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
