package dwarf

import (
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/kmortem/mortem/kernel/ctype"
)

// Data is the debug information of a kernel or module. Its methods are safe
// for use by many goroutines.
type Data struct {
	space   space
	files   []*file // the shared one, the main one, those of split units
	main    *file
	units   []unit // ascending by place
	sigs    map[uint64]place
	names   nameTable
	damage  error // under mu
	rooted  bool  // the units have what their own DIEs say
	release func(part []byte)
	guard   func(read func() error) error
	store   Store
	split   bool // has units in .dwo files, whose places no index knows
	budget  *budget
	unread  atomic.Int64 // members, constants, parameters and ranges that may yet be decoded

	enumOnce    sync.Once
	enumerators nameTable

	rangesOnce sync.Once
	byAddr     []unitRange

	linesMu     sync.Mutex // held while a line table is read
	lineBudgets map[*file]*lineBudget

	mu     sync.RWMutex
	tables map[tableKey]*shapes
	types  map[place]*ctype.Type
	infos  map[*unit]*unitInfo
	lines  map[lineKey]*lineTable
	codes  map[*unit]*unitCode
	frames map[uint64][]Frame

	remembered int // what frames holds, see weight
}

// Options say what goes with the main file.
type Options struct {
	// Alt are the sections of the file that .gnu_debugaltlink names.
	Alt *Sections
	// Split, where set, opens the .dwo file of a unit, by the name and the
	// directory of compilation that the unit has.
	Split func(name, compDir string) (Sections, error)
	// Release, where set, is called with parts of the sections whose memory
	// can be given back for now.
	Release func(part []byte)
	// Store, where set, keeps the index from one run to the next.
	Store Store
	// Guard, where set, runs functions that read the sections and turns the
	// faults of a mapping into errors.
	Guard func(read func() error) error
}

// ErrNoDWARF is wrapped by the error for files without debug information.
var ErrNoDWARF = errors.New("no DWARF debug information")

// New makes the index. Damage to single units does not make it fail, see
// Damage; having no sound unit does.
func New(sections Sections, opts Options) (*Data, error) {
	if len(sections.Info) == 0 {
		return nil, fmt.Errorf("%s: %w (no .debug_info)", sections.File, ErrNoDWARF)
	}
	d := &Data{
		tables: map[tableKey]*shapes{},
		types:  map[place]*ctype.Type{},
		infos:  map[*unit]*unitInfo{},
		lines:  map[lineKey]*lineTable{},
		codes:  map[*unit]*unitCode{},
		frames: map[uint64][]Frame{},

		lineBudgets: map[*file]*lineBudget{},
		guard:       opts.Guard,
		store:       opts.Store,
	}
	if d.guard == nil {
		d.guard = func(read func() error) error { return read() }
	}
	if d.release = opts.Release; d.release == nil {
		d.release = func([]byte) {}
	}
	if err := d.guard(func() error { return d.open(sections, opts) }); err != nil {
		return nil, err
	}
	return d, nil
}

// open gets the index from where it was kept, or makes it.
func (d *Data) open(sections Sections, opts Options) error {
	d.addFiles(sections, opts)
	d.budget = d.space.newBudget()
	loaded := d.loadNames()
	if !loaded {
		d.addUnits(opts.Split)
	}
	for i := range d.units {
		d.unread.Add(int64(len(d.units[i].data)) - int64(d.units[i].start))
	}
	if !loaded {
		if listed := d.openNames(); listed != nil {
			d.names = listed
			return nil
		}
		d.names = d.scanAll()
	}
	if d.names.size() > 0 {
		return nil
	}
	if d.damage != nil {
		return fmt.Errorf("%s: %w that can be read: %w", sections.File, ErrNoDWARF, d.damage)
	}
	return fmt.Errorf("%s: %w that can be read", sections.File, ErrNoDWARF)
}

// loadNames gets the index of names from the store.
func (d *Data) loadNames() bool {
	if d.store == nil {
		return false
	}
	x := d.openIndex(d.store.Load("names"))
	if x == nil || !d.load(x) {
		return false
	}
	d.names = x
	d.addSignatures()
	return true
}

// scanAll makes the index of names, and keeps it.
func (d *Data) scanAll() *names {
	list, err := d.scanNames((*walker).index)
	d.note(err)
	if d.store != nil && d.Damage() == nil && !d.split {
		d.store.Save("names", d.encodeIndex(list, d.units))
	}
	return list
}

// note keeps the first damage.
func (d *Data) note(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.damage == nil {
		d.damage = err
	}
}

func (d *Data) addFiles(sections Sections, opts Options) {
	if opts.Alt != nil {
		d.files = append(d.files, d.space.addFile(*opts.Alt, nil))
	}
	var alt *file
	if len(d.files) > 0 {
		alt = d.files[0]
	}
	d.main = d.space.addFile(sections, alt)
	d.files = append(d.files, d.main)
}

// addUnits reads the headers of all units.
func (d *Data) addUnits(split func(name, compDir string) (Sections, error)) {
	for _, f := range d.files {
		d.addUnitsOf(f)
	}
	if split != nil {
		d.addSplit(split)
	}
	sort.Slice(d.units, func(i, j int) bool {
		return d.units[i].place(int(d.units[i].start)) < d.units[j].place(int(d.units[j].start))
	})
	d.addSignatures()
}

// addSignatures notes which type unit has which signature.
func (d *Data) addSignatures() {
	d.sigs = map[uint64]place{}
	for i := range d.units {
		u := &d.units[i]
		if u.kind != utType && u.kind != utSplitType {
			continue
		}
		if at := u.within(u.typeOffset); at >= 0 && d.sigs[u.signature] == 0 {
			d.sigs[u.signature] = u.place(at)
		}
	}
}

func (d *Data) addUnitsOf(f *file) {
	info, err := d.readUnits(f, f.Info, f.info, false, ".debug_info")
	d.note(err)
	types, err := d.readUnits(f, f.Types, f.types, true, ".debug_types")
	d.note(err)
	d.units = append(append(d.units, info...), types...)
}

// releaseUnits gives back the memory behind units that have been indexed.
func (d *Data) releaseUnits(batch []unit) {
	first, last := &batch[0], &batch[len(batch)-1]
	if first.base == last.base {
		d.release(last.data[first.start:])
	}
}

// budget is how many bytes of abbreviations may yet be compiled, in one scan,
// or for types. Tables that overlap on purpose would otherwise take time with
// the square of the file's size.
type budget struct{ left atomic.Int64 }

func (s *space) newBudget() *budget {
	b := &budget{}
	b.left.Store(16*int64(s.abbrevs) + 16<<20)
	return b
}

func (b *budget) spend(n int) error {
	if b.left.Add(-int64(n)) < 0 {
		return errors.New("abbreviation tables are shared by so many units in so many places that it must be damage")
	}
	return nil
}

// spend takes parts of types and functions from the budget: in sound files there are
// fewer of them than bytes, in damaged ones structs can share their members, and
// functions their ranges.
func (d *Data) spend(parts int) error {
	if d.unread.Add(-int64(parts)) < 0 {
		return errors.New("types and functions have more parts than the file has bytes: it must be damage")
	}
	return nil
}

// Damage is the first damage that was met while indexing, nil if there was
// none. Names defined in damaged units are missing.
func (d *Data) Damage() error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.damage
}

// Units is the number of compilation, partial and type units.
func (d *Data) Units() int { return len(d.units) }

// Names is the number of different names in the index.
func (d *Data) Names() int { return d.names.size() }

func (u *unit) tableKey() tableKey {
	return tableKey{u.file, u.abbrev, u.version, u.addrSize, u.offsetSize}
}

// table returns the unit's compiled abbreviations.
func (d *Data) table(u *unit) (*shapes, error) {
	key := u.tableKey()
	d.mu.RLock()
	t := d.tables[key]
	d.mu.RUnlock()
	if t != nil {
		return t, nil
	}
	t = &shapes{}
	n, err := t.compile(u.file.Abbrev, u.abbrev, u)
	if err == nil {
		err = d.budget.spend(n)
	}
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.tables[key] = t
	d.mu.Unlock()
	return t, nil
}

// dieAt decodes the DIE at a place.
func (d *Data) dieAt(p place) (die, *shapes, error) {
	u := d.unitAt(p)
	if u == nil {
		return die{}, nil, fmt.Errorf("no DIE can be at %s", d.space.describe(p))
	}
	t, err := d.table(u)
	if err != nil {
		return die{}, nil, err
	}
	e, err := d.readDIE(u, int(p-u.base), t)
	return e, t, err
}
