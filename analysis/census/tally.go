package census

import (
	"fmt"
	"hash/maphash"
	"path"
	"strings"
	"sync/atomic"

	"github.com/kmortem/mortem/kernel/vfs"
)

// The states that a dentry can be in. They exclude each other.
const (
	stateInUse     = iota
	stateRoot      // the root of a file system, in use
	stateHeld      // in use and in no hash chain: deleted, or of a pipe, a socket and the like
	stateReferred  // unused on the LRU, used since it came there
	stateLRU       // unused on the LRU
	stateShrinking // somebody has taken it off the LRU to free it
	stateIdle      // unused, on no list: it is just being put away, or, unhashed, freed
	stateKilled
	states
)

var stateNames = [states]string{
	"in use", "root of a file system", "in use, unhashed", "unused on the LRU, referenced", "unused on the LRU",
	"on a list to be freed", "unused, on no list", "being killed",
}

// superTally are the dentries of one super_block.
type superTally struct {
	listed bool
	noUser bool              // nobody can mount it, and so nothing is deleted there
	count  [states][2]uint64 // by state; those that are negative second
	hashed uint64
	// lruInUse are those on the LRU that are in use again: they stay there until the
	// shrinker comes by.
	lruInUse uint64
}

// shared is what all workers of a census share.
type shared struct {
	fs     *vfs.FS
	size   uint64                     // bytes of a dentry
	known  map[uint64]*vfs.SuperBlock // by address
	seed   maphash.Seed
	filter filter
	table  *vfs.HashTable // nil where no lengths are wanted
	chains []atomic.Uint32
	long   atomic.Int64 // names apart from their dentries that may still be read
	room   int          // of the sketches
	held   int          // unhashed ones to remember a worker
	// charged are the dentries by memory cgroup, after the sweep; nil where the kernel
	// does not record them.
	charged *charged
}

// filter is which dentries count.
type filter struct {
	dir, super uint64 // 0 for any
	pattern    string // of the name, or a shell pattern; empty for any
}

func (f *filter) any() bool { return f.dir == 0 && f.super == 0 && f.pattern == "" }

// String names what is left out by what counts; it is empty where all dentries count.
func (f *filter) String() string {
	var parts []string
	if f.dir != 0 {
		parts = append(parts, fmt.Sprintf("directory %#x", f.dir))
	}
	if f.super != 0 {
		parts = append(parts, fmt.Sprintf("super_block %#x", f.super))
	}
	if f.pattern != "" {
		parts = append(parts, "pattern "+f.pattern)
	}
	return strings.Join(parts, ", ")
}

// tally is what one worker counts.
type tally struct {
	*shared
	supers   map[uint64]*superTally
	super    uint64 // of the dentry before, and what is counted of it
	current  *superTally
	dirs     *sketch[counted]
	names    *sketch[counted]
	pairs    *sketch[pair]
	apart    uint64 // names that lie apart
	unread   uint64 // of these, not read
	strange  uint64
	unhashed lowest // in use
	d        vfs.Dentry
	buf      []byte
	recent   recent
}

func newTally(s *shared) *tally {
	return &tally{shared: s, supers: make(map[uint64]*superTally), dirs: newSketch[counted](s.room), names: newSketch[counted](s.room),
		pairs: newSketch[pair](s.room), unhashed: lowest{most: s.held}, buf: make([]byte, 0, 512)}
}

// maxUnlisted bounds how many super_blocks are told apart that the kernel's list does
// not have.
const maxUnlisted = 1 << 10

// superOf is the tally of a super_block, nil for what cannot be one.
func (t *tally) superOf(addr uint64) *superTally {
	if addr == t.super && t.current != nil {
		return t.current
	}
	s := t.supers[addr]
	if s == nil {
		known := t.known[addr]
		if known == nil && (addr == 0 || addr&7 != 0 || addr>>47 != 1<<17-1 || len(t.supers) >= len(t.known)+maxUnlisted) {
			return nil
		}
		s = &superTally{listed: known != nil, noUser: known != nil && known.Flags&noUser != 0}
		t.supers[addr] = s
	}
	t.super, t.current = addr, s
	return s
}

// add counts one dentry. doubt tells that it may be a free object. It is false for what
// does not count, or is no dentry.
func (t *tally) add(d *vfs.Dentry, doubt bool) bool {
	f := &t.filter
	if f.dir != 0 && d.Parent != f.dir || f.super != 0 && d.Super != f.super {
		return false
	}
	if f.pattern != "" && !t.matches(d) {
		return false
	}
	super := t.superOf(d.Super)
	if super == nil || doubt && !super.listed {
		t.strange++
		return false
	}
	hashed := t.fs.Hashed(d)
	state := t.state(d, hashed)
	negative := 0
	if d.Negative() {
		negative = 1
	}
	super.count[state][negative]++
	if hashed {
		super.hashed++
		if t.table != nil && !d.Root() {
			t.chains[t.table.BucketOf(d.Hash, d.Parent)].Add(1)
		}
	}
	if d.Count > 0 && t.fs.OnLRU(d) {
		super.lruInUse++
	}
	if state == stateHeld && !super.noUser {
		t.unhashed.add(d.Addr)
	}
	if state == stateKilled {
		return true // its parent and name may be gone
	}
	t.count(d, state, uint64(negative), hashed)
	return true
}

// state is the one that a dentry is in.
func (t *tally) state(d *vfs.Dentry, hashed bool) int {
	fs := t.fs
	switch {
	case fs.Killed(d):
		return stateKilled
	case d.Count > 0 && d.Root():
		return stateRoot
	case d.Count > 0 && hashed:
		return stateInUse
	case d.Count > 0:
		return stateHeld
	case fs.OnShrinkList(d):
		return stateShrinking
	case !fs.OnLRU(d):
		return stateIdle
	case fs.Referenced(d):
		return stateReferred
	}
	return stateLRU
}

// count counts a dentry in its directory and by the pattern of its name.
func (t *tally) count(d *vfs.Dentry, state int, negative uint64, hashed bool) {
	lru, unhashed := uint64(0), uint64(1)
	if state == stateLRU || state == stateReferred {
		lru = 1
	}
	if hashed {
		unhashed = 0
	}
	if !d.Root() {
		dir, _ := t.dirs.at(d.Parent)
		dir.total++
		dir.of.note(d.Addr, negative, lru, unhashed, t.size)
	}
	name, ok := t.nameOf(d)
	if !ok {
		return
	}
	pattern := t.patternOf(name)
	pattern.total++
	pattern.of.note(d.Addr, negative, lru, unhashed, t.size)
	both := pair{d.Parent, pattern.key}
	in, _ := t.pairs.at(both.key())
	in.total++
	in.of = both
}

// patternOf is the entry of a name's pattern.
func (t *tally) patternOf(name []byte) *entry[counted] {
	if t.recent.alike(name) {
		if e, fresh := t.names.at(t.recent.key); !fresh {
			return e
		}
	}
	t.buf = appendPattern(t.buf[:0], name)
	key := maphash.Bytes(t.seed, t.buf)
	e, _ := t.names.at(key)
	if e.of.text == "" {
		e.of.text = string(t.buf)
	}
	t.recent.remember(name, key)
	return e
}

// nameOf is the name of a dentry; false where it lies apart and enough of those were
// read.
func (t *tally) nameOf(d *vfs.Dentry) ([]byte, bool) {
	if name, ok := t.fs.InlineName(d); ok {
		return name, true
	}
	t.apart++
	if t.shared.long.Add(-1) >= 0 {
		if name, err := t.fs.RawName(d); err == nil {
			return name, true
		}
	}
	t.unread++
	return nil, false
}

// matches tells whether a dentry's name fits the filter: its pattern is the one asked
// for, or the name fits that as a shell pattern.
func (t *tally) matches(d *vfs.Dentry) bool {
	name, ok := t.fs.InlineName(d)
	if !ok {
		var err error
		if name, err = t.fs.RawName(d); err != nil {
			return false
		}
	}
	t.buf = appendPattern(t.buf[:0], name)
	if string(t.buf) == t.filter.pattern {
		return true
	}
	fits, err := path.Match(t.filter.pattern, string(name))
	return err == nil && fits
}

// merge adds what another worker counted.
func (t *tally) merge(o *tally) {
	for addr, from := range o.supers {
		to := t.supers[addr]
		if to == nil {
			t.supers[addr] = from
			continue
		}
		for state := range from.count {
			to.count[state][0] += from.count[state][0]
			to.count[state][1] += from.count[state][1]
		}
		to.hashed += from.hashed
		to.lruInUse += from.lruInUse
	}
	t.dirs.merge(o.dirs, addCounted)
	t.names.merge(o.names, addCounted)
	t.pairs.merge(o.pairs, addPair)
	t.apart += o.apart
	t.unread += o.unread
	t.strange += o.strange
	t.unhashed.merge(&o.unhashed)
}

// counts are those of a super_block.
func (s *superTally) counts(size uint64) Counts {
	both := func(state int) uint64 { return s.count[state][0] + s.count[state][1] }
	var c Counts
	for state := range states {
		c.Total += both(state)
		c.Negative += s.count[state][1]
	}
	c.Bytes = c.Total * size
	c.InUse = both(stateInUse) + both(stateRoot) + both(stateHeld)
	c.OnLRU = both(stateLRU) + both(stateReferred)
	c.Referenced = both(stateReferred)
	c.NegLRU = s.count[stateLRU][1] + s.count[stateReferred][1]
	c.Hashed, c.Held, c.Killed, c.LRUInUse = s.hashed, both(stateHeld), both(stateKilled), s.lruInUse
	return c
}

func (c *Counts) plus(o Counts) {
	c.Total += o.Total
	c.Bytes += o.Bytes
	c.Negative += o.Negative
	c.InUse += o.InUse
	c.OnLRU += o.OnLRU
	c.Referenced += o.Referenced
	c.NegLRU += o.NegLRU
	c.Hashed += o.Hashed
	c.LRUInUse += o.LRUInUse
	c.Held += o.Held
	c.Killed += o.Killed
}
