package census

import (
	"cmp"
	"context"
	"slices"

	"github.com/kmortem/mortem/analysis/chains"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/vfs"
)

// describer makes the report of what was counted.
type describer struct {
	fs     *vfs.FS
	opt    Options
	r      *DentryReport
	total  *tally
	supers superList
	mounts *vfs.Mounts
}

func (d *describer) describe(ctx context.Context) error {
	r, t := d.r, d.total
	r.Memory = memory(d.fs.Kernel())
	r.LongNames, r.LongUnread, r.Strange = t.apart, t.unread, t.strange
	d.describeSupers()
	d.describeStates()
	d.describeDirectories()
	d.describePatterns()
	if t.table != nil && r.Source == SourceSlabs {
		r.Chains = chainLengths(t)
	}
	if t.filter.any() {
		if err := d.describeLRU(ctx); err != nil {
			return err
		}
		r.Counters = dentryCounters(d.fs.Kernel(), r, t)
	} else {
		d.describeMemcgs(unusedByMemcg(t.charged))
	}
	return d.describeHeld(ctx)
}

func (d *describer) describeStates() {
	var sum [states][2]uint64
	for _, s := range d.total.supers {
		for state := range sum {
			sum[state][0] += s.count[state][0]
			sum[state][1] += s.count[state][1]
		}
	}
	for state, n := range sum {
		if all := n[0] + n[1]; all > 0 {
			d.r.States = append(d.r.States, State{Name: stateNames[state], Dentries: all, Negative: n[1], Bytes: all * d.total.size})
		}
	}
}

func (d *describer) describeSupers() {
	types := make(map[string]*FSType)
	for addr, s := range d.total.supers {
		one := Super{Addr: kernel.Addr(addr), Listed: s.listed, Counts: s.counts(d.total.size)}
		if sb := d.supers.byAddr[addr]; sb != nil {
			one.ID, one.Type = sb.ID, sb.Type
		}
		one.Mounts = mountPaths(d.mounts, addr)
		d.r.Dentries.plus(one.Counts)
		t := types[one.Type]
		if t == nil {
			t = &FSType{Type: one.Type}
			types[one.Type] = t
		}
		t.plus(one.Counts)
		d.r.Supers = append(d.r.Supers, one)
	}
	slices.SortFunc(d.r.Supers, func(a, b Super) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Addr, b.Addr))
	})
	for _, t := range types {
		d.r.FileSystems = append(d.r.FileSystems, *t)
	}
	slices.SortFunc(d.r.FileSystems, func(a, b FSType) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Type, b.Type))
	})
}

// shownMounts is how many mounts of a super_block are named.
const shownMounts = 4

// mountPaths are where a super_block is mounted, those of the first mount namespace
// first.
func mountPaths(mounts *vfs.Mounts, super uint64) []string {
	var paths []string
	for _, first := range []bool{true, false} {
		for _, m := range mounts.Of(super) {
			if m.Namespace == 0 || (m.Namespace == mounts.InitNamespace()) != first || len(paths) == shownMounts {
				continue
			}
			path, _ := mounts.PathOfMount(m) // an incomplete one begins with …
			if !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

func (d *describer) describeDirectories() {
	t := d.total
	d.r.DirectoryError = t.dirs.error
	largest := t.dirs.top(d.opt.Top, byText)
	patterns := mainPairs(t.pairs, largest, t.dirs.error, func(p pair) uint64 { return p.dir })
	for i := range largest {
		e, n := &largest[i], &largest[i].of
		dir := Directory{Addr: kernel.Addr(e.key), Dentries: e.total, Negative: n.negative, OnLRU: n.lru, Unhashed: n.unhashed, Bytes: n.bytes}
		dir.Path = d.pathOf(e.key)
		if main, ok := patterns[e.key]; ok {
			if p := t.names.find(main.pattern); p != nil {
				dir.Pattern = cstr.Show([]byte(p.of.text))
			}
		}
		d.r.Directories = append(d.r.Directories, dir)
	}
}

// pathOf is the path of a dentry, or what is known of it.
func (d *describer) pathOf(addr uint64) string {
	dir, err := d.fs.Dentry(addr)
	if err != nil {
		d.r.Coverage.Fail(err)
		return "?"
	}
	path, err := d.mounts.PathOf(dir)
	if err != nil {
		d.r.Coverage.Fail(err)
	}
	return path
}

func (d *describer) describePatterns() {
	t := d.total
	d.r.PatternError = t.names.error
	largest := t.names.top(d.opt.Top, byText)
	dirs := mainPairs(t.pairs, largest, t.names.error, func(p pair) uint64 { return p.pattern })
	for i := range largest {
		e, n := &largest[i], &largest[i].of
		p := Pattern{Pattern: cstr.Show([]byte(n.text)), Dentries: e.total, Negative: n.negative, OnLRU: n.lru, Bytes: n.bytes}
		for i, addr := range n.sample {
			if s, ok := d.sample(addr); ok && (i == 0 || addr != n.sample[0]) {
				p.Samples = append(p.Samples, s)
			}
		}
		if main, ok := dirs[e.key]; ok {
			p.Directory = d.pathOf(main.dir)
		}
		d.r.Patterns = append(d.r.Patterns, p)
	}
}

func (d *describer) sample(addr uint64) (Sample, bool) {
	if addr == 0 {
		return Sample{}, false
	}
	dentry, err := d.fs.Dentry(addr)
	if err != nil {
		return Sample{}, false // it was read in the sweep; its page may be gone since
	}
	name, err := d.fs.NameOf(dentry)
	return Sample{Addr: kernel.Addr(addr), Name: name}, err == nil
}

// chainLengths makes the lengths of the chains of the counts by bucket.
func chainLengths(t *tally) *ChainLengths {
	var l chains.Lengths
	c := &ChainLengths{Buckets: t.table.Buckets}
	for bucket := range t.chains {
		n := int(t.chains[bucket].Load())
		l.Count(n, 1)
		c.Hashed += uint64(n)
		if n > c.Longest {
			c.Longest, c.LongestBucket = n, uint64(bucket)
		}
	}
	c.ExpectedLongest = chains.ExpectedLongest(c.Hashed, c.Buckets)
	c.Histogram = l.Histogram(c.Hashed, c.Buckets)
	return c
}
