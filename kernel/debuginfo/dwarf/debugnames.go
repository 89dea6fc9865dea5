package dwarf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
)

// debugNames answers from .debug_names, the index that a compiler or linker made
// (DWARF 5, 6.1.1), so that the first names are found without a scan. It holds
// definitions only, and nothing makes it complete or right: it is taken where it
// lists just the units that there are and its hashes are right, each answer is
// checked at the DIE, and a name that it lacks is looked for by a scan, which then
// stands for it. So is everything else once a check has failed.
type debugNames struct {
	d      *Data
	tables []nameIndex
	budget *budget      // for checks
	work   atomic.Int64 // bytes that looking up and checking may yet read, before a scan is cheaper
	once   sync.Once
	scan   atomic.Pointer[names] // set once scanned
}

// nameIndex is one contribution, such as that of one object file.
type nameIndex struct {
	units   []uint64 // offsets of units in .debug_info: compilation units, then type units
	cus     int
	size    int // of offsets, 4 or 8
	buckets []byte
	hashes  []byte
	strings []byte // offsets into .debug_str
	entries []byte // offsets into the pool
	abbrevs map[uint64]nameAbbrev
	pool    []byte
}

// nameAbbrev tells how an entry is written.
type nameAbbrev struct {
	kind  nameKind
	attrs []nameAttr
}

type nameAttr struct{ index, form uint64 }

// Attributes of entries, DWARF 5, 6.1.1.4.7.
const (
	idxCompileUnit = 1
	idxTypeUnit    = 2
	idxDieOffset   = 3
)

var errNames = errors.New("damaged .debug_names")

// openNames reads .debug_names; nil where there is none to be trusted.
func (d *Data) openNames() *debugNames {
	f := d.main
	if len(f.Names) == 0 || len(d.files) != 1 || d.split || len(f.Types) > 0 || d.damage != nil {
		return nil
	}
	n := &debugNames{d: d, budget: d.space.newBudget()}
	n.work.Store(int64(len(f.Info)) + 1<<20)
	listed := map[uint64]bool{}
	for c := (cursor{data: f.Names}); c.more(); {
		t, err := readNameIndex(&c)
		if err != nil || !t.sound(f) || len(n.tables) >= len(d.units) {
			return nil
		}
		for _, at := range t.units {
			listed[at] = true
		}
		n.tables = append(n.tables, t)
	}
	for i := range d.units {
		if !listed[d.units[i].start] {
			return nil // what was compiled without an index is missing from it
		}
	}
	if len(listed) != len(d.units) || d.rootUnits() != nil {
		return nil
	}
	return n
}

// rootUnits takes from the units' own DIEs what a scan would have taken, for
// afterwards they are not changed any more.
func (d *Data) rootUnits() error {
	var table shapes
	budget := d.space.newBudget()
	for i := range d.units {
		u := &d.units[i]
		c := cursor{data: u.data, off: int(u.die)}
		read, err := table.compileUntil(u.file.Abbrev, u.abbrev, u, c.uleb())
		if err == nil {
			err = budget.spend(read)
		}
		if err != nil {
			return err
		}
		root, err := d.readDIE(u, int(u.die), &table)
		if err != nil {
			return err
		}
		u.root(&root)
	}
	d.rooted = true
	return nil
}

// readNameIndex reads the header and finds the parts of one contribution
// (DWARF 5, 6.1.1.4.1).
func readNameIndex(c *cursor) (t nameIndex, err error) {
	length := uint64(c.u32())
	t.size = 4
	if length == 0xffffffff {
		length, t.size = c.u64(), 8
	}
	body := cursor{data: c.bytes(length)}
	version := body.u16()
	body.skip(2)
	cus, localTypes, foreign := body.u32(), body.u32(), body.u32()
	buckets, count, abbrevs, augmentation := body.u32(), body.u32(), body.u32(), body.u32()
	body.skip((uint64(augmentation) + 3) &^ 3)
	if c.bad || body.bad || version != 5 || foreign != 0 || buckets == 0 && count > 0 {
		return t, errNames
	}
	t.cus = int(cus)
	for range uint64(cus) + uint64(localTypes) {
		t.units = append(t.units, body.uint(t.size))
		if body.bad {
			return t, errNames
		}
	}
	t.buckets = body.bytes(4 * uint64(buckets))
	t.hashes = body.bytes(4 * uint64(count))
	t.strings = body.bytes(uint64(t.size) * uint64(count))
	t.entries = body.bytes(uint64(t.size) * uint64(count))
	t.abbrevs, err = readNameAbbrevs(body.bytes(uint64(abbrevs)))
	if body.bad {
		return t, errNames
	}
	t.pool = body.data[body.off:]
	return t, err
}

// maxNameAbbrevs bounds the forms of entries in one contribution; there are as
// many as tags that can have names.
const maxNameAbbrevs = 1 << 10

func readNameAbbrevs(data []byte) (map[uint64]nameAbbrev, error) {
	list := map[uint64]nameAbbrev{}
	for c := (cursor{data: data}); c.more(); {
		code := c.uleb()
		if code == 0 {
			break
		}
		a := nameAbbrev{kind: kindOfTag(uint16(min(c.uleb(), 1<<16-1)))}
		for {
			index, form := c.uleb(), c.uleb()
			if index == 0 && form == 0 {
				break
			}
			a.attrs = append(a.attrs, nameAttr{index, form})
			if c.bad || len(a.attrs) > maxNameAbbrevs {
				return nil, errNames
			}
		}
		if list[code] = a; len(list) > maxNameAbbrevs || c.bad {
			return nil, errNames
		}
	}
	return list, nil
}

// samples is how many names of each contribution are checked beforehand.
const samples = 64

// sound checks some names: the hash must be that of the string, and the bucket's
// first must lead to it.
func (t *nameIndex) sound(f *file) bool {
	count := len(t.hashes) / 4
	for i := 0; i < count; i += max(1, count/samples) {
		text := stringAt(f.Str, t.offset(t.strings, i))
		hash := binary.LittleEndian.Uint32(t.hashes[4*i:])
		if len(text) == 0 || namesHash(string(text)) != hash {
			return false
		}
		first := t.first(hash)
		if first < 0 || first > i || t.bucketOf(first) != t.bucketOf(i) {
			return false
		}
	}
	return true
}

func stringAt(section []byte, offset uint64) []byte {
	if offset >= uint64(len(section)) {
		return nil
	}
	rest := section[offset:min(uint64(len(section)), offset+maxName)]
	return rest[:max(0, bytes.IndexByte(rest, 0))]
}

// offset is the i-th number in an array of offsets.
func (t *nameIndex) offset(array []byte, i int) uint64 {
	c := cursor{data: array, off: t.size * i}
	return c.uint(t.size)
}

func (t *nameIndex) bucketOf(i int) uint32 {
	return binary.LittleEndian.Uint32(t.hashes[4*i:]) % uint32(len(t.buckets)/4)
}

// first is the first name in a hash's bucket, -1 for an empty one.
func (t *nameIndex) first(hash uint32) int {
	bucket := hash % uint32(len(t.buckets)/4)
	i := int64(binary.LittleEndian.Uint32(t.buckets[4*bucket:])) - 1
	if i >= int64(len(t.hashes)/4) {
		return -1
	}
	return int(i)
}

// namesHash is the hash of .debug_names: Bernstein's, over the name in lower
// case (DWARF 5, 6.1.1.4.5). Names in C are of ASCII; others are not found, and so
// left to a scan.
func namesHash(name string) uint32 {
	h := uint32(5381)
	for i := 0; i < len(name); i++ {
		b := name[i]
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		h = h*33 + uint32(b)
	}
	return h
}

// maxCandidates bounds the entries of one name, and maxChecked how many of them
// are looked at before a scan is the cheaper way.
const (
	maxCandidates = 1 << 20
	maxChecked    = 32
)

// find adds the places of the DIEs of a name. It takes what it reads from work.
func (t *nameIndex) find(d *Data, kind nameKind, name string, places []place, work *atomic.Int64) ([]place, error) {
	count := len(t.hashes) / 4
	if count == 0 {
		return places, nil
	}
	hash := namesHash(name)
	i := t.first(hash)
	if i < 0 {
		return places, nil
	}
	start := i
	defer func() { work.Add(-4 * int64(i-start)) }()
	for bucket := t.bucketOf(i); i < count && t.bucketOf(i) == bucket; i++ {
		if binary.LittleEndian.Uint32(t.hashes[4*i:]) != hash || string(stringAt(d.main.Str, t.offset(t.strings, i))) != name {
			continue
		}
		var err error
		if places, err = t.series(d, kind, t.offset(t.entries, i), places, work); err != nil {
			return nil, err
		}
	}
	return places, nil
}

// series reads the entries of one name.
func (t *nameIndex) series(d *Data, kind nameKind, offset uint64, places []place, work *atomic.Int64) ([]place, error) {
	c := cursor{data: t.pool}
	c.skip(offset)
	start := c.off
	defer func() { work.Add(-int64(c.off - start)) }()
	for {
		code := c.uleb()
		if code == 0 && !c.bad {
			return places, nil
		}
		a, ok := t.abbrevs[code]
		if !ok || c.bad || len(places) >= maxCandidates {
			return nil, errNames
		}
		unit, die := uint64(0), uint64(0)
		for _, attr := range a.attrs {
			v := number(&c, attr.form)
			switch attr.index {
			case idxCompileUnit:
				unit = v
			case idxTypeUnit:
				unit = uint64(t.cus) + v
			case idxDieOffset:
				die = v
			}
		}
		if c.bad || unit >= uint64(len(t.units)) || die >= uint64(len(d.main.Info)) {
			return nil, errNames
		}
		if a.kind == kind {
			places = append(places, d.main.info+place(t.units[unit]+die))
		}
	}
}

// number reads a number in an entry: the forms of constants, flags and references,
// which count from the start of the unit that the entry names (DWARF 5, 6.1.1.4.7).
// Others make no sense there.
func number(c *cursor, form uint64) uint64 {
	switch form {
	case formData1, formRef1, formFlag:
		return c.uint(1)
	case formData2, formRef2:
		return c.uint(2)
	case formData4, formRef4:
		return c.uint(4)
	case formData8, formRef8, formRefSig8:
		return c.uint(8)
	case formUdata, formRefUdata:
		return c.uleb()
	case formSdata:
		return uint64(c.sleb())
	case formFlagPresent:
		return 1
	}
	c.fail()
	return 0
}

// lookup implements nameTable.
func (n *debugNames) lookup(kind nameKind, name string) (entry, bool) {
	if scan := n.scan.Load(); scan != nil {
		return scan.lookup(kind, name)
	}
	if e, ok := n.listed(kind, name); ok {
		return e, true
	}
	return n.full().lookup(kind, name)
}

// listed finds a name in the index, and makes sure of it.
func (n *debugNames) listed(kind nameKind, name string) (best entry, ok bool) {
	var places []place
	for i := range n.tables {
		var err error
		if places, err = n.tables[i].find(n.d, kind, name, places, &n.work); err != nil {
			return entry{}, false
		}
	}
	slices.Sort(places)
	for i, p := range places {
		e, there, err := n.entryAt(kind, name, p)
		if err != nil || i == maxChecked || n.work.Load() < 0 {
			return entry{}, false
		}
		if there && (!ok || best.better(e.quality, e.die)) {
			best, ok = e, true
		}
		if ok && best.quality == definition {
			break // the first in the file is the best
		}
	}
	return best, ok
}

// entryAt is what a scan would enter for the DIE at a place, if that is at the top
// level of a unit. It is an error if it is not of that name.
func (n *debugNames) entryAt(kind nameKind, name string, p place) (e entry, there bool, err error) {
	d := n.d
	u := d.unitAt(p)
	if u == nil {
		return entry{}, false, errNames
	}
	w := &walker{data: d, names: newNames(&d.space), budget: n.budget}
	t, err := w.open(u)
	if err != nil || u.language == langRust {
		return entry{}, false, err
	}
	defer func() { n.work.Add(-int64(t.c.off) + int64(u.die)) }()
	for t.next() {
		if t.start > int(p-u.base) {
			return entry{}, false, t.err // inside of a function
		}
		if t.start == int(p-u.base) {
			w.take(u, t.shape, t.start, &t.at)
			if e, there = w.names.lookup(kind, name); !there || e.quality == declaration {
				return entry{}, false, errNames
			}
			return e, true, nil
		}
	}
	return entry{}, false, t.err
}

// full makes the index by a scan, once.
func (n *debugNames) full() *names {
	n.once.Do(func() { n.scan.Store(n.d.scanAll()) })
	return n.scan.Load()
}

func (n *debugNames) all() iter.Seq[entry] { return n.full().all() }
func (n *debugNames) size() int            { return n.full().size() }
