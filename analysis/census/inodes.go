package census

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/sweep"
	"github.com/kmortem/mortem/kernel/vfs"
)

// InodeReport is the answer about inodes. Counts are lower bounds where Coverage is
// not complete, or where Source is SourceLists.
type InodeReport struct {
	Source      string       `json:"source"`
	WhyLists    string       `json:"why_lists,omitempty"` // why the slabs could not be read
	Caches      []Cache      `json:"caches,omitempty"`
	Memory      uint64       `json:"memory_bytes,omitempty"` // of the machine
	Inodes      InodeCounts  `json:"inodes"`
	Supers      []InodeSuper `json:"super_blocks"` // the one with the most inodes first
	FileSystems []InodeType  `json:"file_systems"`
	Counters    []Counter    `json:"kernel_counters,omitempty"`
	Deleted     []Held       `json:"deleted_in_use,omitempty"` // inodes without a name that are in use, the largest first
	MoreDeleted uint64       `json:"more_deleted,omitempty"`
	// Memcgs are the inodes by the memory cgroup that they are charged to, as the slabs
	// record it; WhyNotCharged says why they do not, and UnknownCharged are the inodes
	// whose memory cgroup could not be read.
	Memcgs         []InodeMemcg      `json:"memcgs,omitempty"`
	WhyNotCharged  string            `json:"why_not_charged,omitempty"`
	UnknownCharged uint64            `json:"unknown_charged,omitempty"`
	Strange        uint64            `json:"strange_objects,omitempty"` // of the caches, that are no inodes
	Findings       []finding.Finding `json:"findings"`
	Coverage       kernel.Coverage   `json:"coverage"`
}

// SourceLists: inodes were found by the super_blocks' lists of them.
const SourceLists = "s_inodes"

// InodeCounts are numbers of inodes. One may be in several of them.
type InodeCounts struct {
	Total   uint64 `json:"total"`
	Bytes   uint64 `json:"bytes"`   // of the objects that they are part of; 0 with SourceLists
	InUse   uint64 `json:"in_use"`  // with references
	Unused  uint64 `json:"unused"`  // without, not being freed
	OnLRU   uint64 `json:"on_lru"`  // of these, on the list that the shrinker takes from
	Freeing uint64 `json:"freeing"` // being freed
	Dirty   uint64 `json:"dirty"`
	Deleted uint64 `json:"deleted_in_use"` // in use, and without a name (i_nlink is 0)
	Hashed  uint64 `json:"hashed"`
	Pages   uint64 `json:"cached_pages"` // of their contents
}

// InodeSuper are the inodes of one super_block.
type InodeSuper struct {
	Addr   kernel.Addr `json:"addr"`
	ID     string      `json:"s_id"`
	Type   string      `json:"type"`
	Mounts []string    `json:"mounts,omitempty"`
	InodeCounts
}

// InodeType are the inodes of one type of file system.
type InodeType struct {
	Type string `json:"type"`
	InodeCounts
}

// InodeMemcg are the inodes that are charged to one memory cgroup.
type InodeMemcg struct {
	ID     int    `json:"kmemcg_id"`      // -1 for the root, and those of no cgroup
	Path   string `json:"path,omitempty"` // of the cgroup, empty where it could not be told
	Inodes uint64 `json:"inodes"`
	Bytes  uint64 `json:"bytes"`
}

// inodeLayout is what a census looks at in a struct inode (include/linux/fs.h). i_lru
// was called i_list until 2.6.37; nrpages is that of the inode's own page cache.
type inodeLayout struct {
	kernel.Layout `kernel:"struct inode"`
	Mode          kernel.Uint `kernel:"i_mode"`
	Links         kernel.U32  `kernel:"i_nlink|__i_nlink"`
	Count         kernel.I32  `kernel:"i_count.counter"`
	Size          kernel.U64  `kernel:"i_size"`
	State         kernel.Uint `kernel:"i_state.__state|i_state"`
	Super         kernel.U64  `kernel:"i_sb"`
	Hash          kernel.U64  `kernel:"i_hash.pprev"`
	LRU           kernel.U64  `kernel:"i_lru.next|i_list.next"`
	Dentries      kernel.U64  `kernel:"i_dentry.first|i_dentry.next"`
	Pages         kernel.U64  `kernel:"i_data.nrpages,optional"`
}

// inodeBits are bits of i_state. They are macros (include/linux/fs.h), which 6.12
// moved, putting I_NEW first, and an enum since 6.18.
type inodeBits struct{ freeing, dirty uint64 }

func findInodeBits(k *kernel.Kernel) inodeBits {
	if t, err := k.Type("enum inode_state_flags_enum"); err == nil {
		var b inodeBits
		for _, e := range t.Enumerators() {
			switch e.Name {
			case "I_FREEING", "I_WILL_FREE", "I_CLEAR":
				b.freeing |= uint64(e.Value)
			case "I_DIRTY_SYNC", "I_DIRTY_DATASYNC", "I_DIRTY_PAGES":
				b.dirty |= uint64(e.Value)
			}
		}
		return b
	}
	if k.HasType("enum inode_state_bits") { // since 6.12
		return inodeBits{freeing: 0x1c0, dirty: 0x38}
	}
	return inodeBits{freeing: 0x70, dirty: 0x7}
}

// Inodes counts all inodes by state and file system, in one sweep over the slabs that
// hold them, and says who uses those that have no name any more. Where the slabs cannot
// be found it walks the super_blocks' lists. The error is that of a kernel that cannot
// be read at all, or of ctx.
func Inodes(ctx context.Context, fs *vfs.FS, opt Options) (*InodeReport, error) {
	opt.setDefaults()
	r := &InodeReport{Source: SourceSlabs, Coverage: fs.Kernel().NewCoverage(), Memory: memory(fs.Kernel())}
	c := &inodeCensus{fs: fs, opt: opt, r: r, bits: findInodeBits(fs.Kernel()), supers: listSupers(fs, &r.Coverage)}
	if err := fs.Kernel().Resolve(&c.l); err != nil {
		return nil, err
	}
	err := c.bySlabs(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		r.Source, r.WhyLists, r.WhyNotCharged = SourceLists, err.Error(), "the lists of super_blocks do not say it"
		c.byLists(ctx)
	}
	return r, c.describe(ctx)
}

type inodeCensus struct {
	fs     *vfs.FS
	opt    Options
	r      *InodeReport
	l      inodeLayout
	bits   inodeBits
	supers superList
	slabs  *slab.Allocations
	total  *inodeTally
}

// inodeTally is what one worker counts.
type inodeTally struct {
	supers  map[uint64]*InodeCounts
	super   uint64 // of the inode before
	current *InodeCounts
	strange uint64
	deleted lowest
}

// inodeCaches are the caches that inodes lie in, and where in their objects: those of
// the first inodes of each super_block.
func (c *inodeCensus) inodeCaches() (map[*slab.Cache][]int, error) {
	var err error
	if c.slabs, err = openSlabs(c.fs.Kernel()); err != nil {
		return nil, err
	}
	const samples = 4
	found := make(map[*slab.Cache][]int)
	var failed error
	for _, sb := range c.supers.all {
		n := 0
		for inode, err := range c.fs.Inodes(sb) {
			if n++; err != nil || n > samples {
				break // the list is no part of the answer
			}
			o, ok, err := c.slabs.ObjectAt(inode)
			if err != nil {
				failed = err
			}
			if !ok || o.Offset+c.l.Span() > o.Slab.Cache.Size || slices.Contains(found[o.Slab.Cache], o.Offset) {
				continue
			}
			for _, cache := range withCopies(c.slabs, o.Slab.Cache) {
				found[cache] = append(found[cache], o.Offset)
			}
		}
	}
	if len(found) == 0 {
		return nil, cmp.Or(failed, errNoInode)
	}
	return found, nil
}

var errNoInode = fmt.Errorf("no inode of any super_block lies in a slab")

func (c *inodeCensus) newTally() *inodeTally {
	return &inodeTally{supers: make(map[uint64]*InodeCounts), deleted: lowest{most: c.opt.Held}}
}

func (c *inodeCensus) bySlabs(ctx context.Context) error {
	caches, err := c.inodeCaches()
	if err != nil {
		return err
	}
	tallies := make([]*inodeTally, c.opt.Workers)
	for i := range tallies {
		tallies[i] = c.newTally()
	}
	charges, err := newChargeTallies(c.slabs, c.opt.Workers)
	if err != nil {
		c.r.WhyNotCharged = err.Error()
	}
	var consumers []sweep.Consumer
	for cache, offsets := range caches {
		consumers = append(consumers, sweep.Consumer{Caches: []*slab.Cache{cache}, Visit: func(worker int, s *sweep.Slab) error {
			c.visit(tallies[worker], &charges[worker], s, offsets)
			return nil
		}})
	}
	result, err := sweep.Run(ctx, c.slabs, consumers, sweep.Options{Workers: c.opt.Workers, Progress: c.opt.Progress})
	if err != nil {
		return err
	}
	c.r.Coverage.Add(result.Coverage)
	c.r.Caches = cacheReport(result)
	if c.r.WhyNotCharged == "" {
		all := mergeCharges(c.fs.Kernel(), charges, &c.r.Coverage)
		c.r.Memcgs, c.r.UnknownCharged = inodeMemcgs(c.fs.Kernel(), all, &c.r.Coverage), all.unknown
	}
	c.total = tallies[0]
	for _, t := range tallies[1:] {
		c.total.merge(t)
	}
	return nil
}

// visit counts the inodes of one slab.
func (c *inodeCensus) visit(t *inodeTally, by *chargeTally, s *sweep.Slab, offsets []int) {
	by.slab(s)
	size := uint64(s.Cache.Size)
	for i := range s.Objects {
		b := s.Bytes(i)
		if b == nil || !s.Live(i) {
			continue
		}
		known := false
		for _, off := range offsets {
			if known = c.add(t, s.Object(i)+uint64(off), b[off:], size); known {
				break
			}
		}
		if known {
			by.count(i, size, false)
		} else {
			t.strange++
		}
	}
}

// add counts one inode; false where what is there is none.
func (c *inodeCensus) add(t *inodeTally, addr uint64, b []byte, size uint64) bool {
	l := &c.l
	super := l.Super.Get(b)
	if super != t.super || t.current == nil {
		if c.supers.byAddr[super] == nil {
			return false
		}
		if t.supers[super] == nil {
			t.supers[super] = new(InodeCounts)
		}
		t.super, t.current = super, t.supers[super]
	}
	n := t.current
	n.Total++
	n.Bytes += size
	state, count := l.State.Get(b), l.Count.Get(b)
	switch {
	case state&c.bits.freeing != 0:
		n.Freeing++
	case count > 0:
		n.InUse++
	default:
		n.Unused++
		if next := l.LRU.Get(b); next != 0 && next != addr+l.LRU.Offset() {
			n.OnLRU++
		}
	}
	if state&c.bits.dirty != 0 {
		n.Dirty++
	}
	if back := l.Hash.Get(b); back != 0 && back != addr+l.Hash.Offset()-8 { // inode_fake_hash
		n.Hashed++
	}
	if l.Pages.Has() {
		n.Pages += l.Pages.Get(b) & (1<<40 - 1)
	}
	if count > 0 && l.Links.Get(b) == 0 && state&c.bits.freeing == 0 {
		n.Deleted++
		if sb := c.supers.byAddr[super]; sb.Flags&noUser == 0 {
			t.deleted.add(addr)
		}
	}
	return true
}

func (t *inodeTally) merge(o *inodeTally) {
	for addr, from := range o.supers {
		if t.supers[addr] == nil {
			t.supers[addr] = new(InodeCounts)
		}
		t.supers[addr].plus(from)
	}
	t.strange += o.strange
	t.deleted.merge(&o.deleted)
}

func (c *InodeCounts) plus(o *InodeCounts) {
	c.Total += o.Total
	c.Bytes += o.Bytes
	c.InUse += o.InUse
	c.Unused += o.Unused
	c.OnLRU += o.OnLRU
	c.Freeing += o.Freeing
	c.Dirty += o.Dirty
	c.Deleted += o.Deleted
	c.Hashed += o.Hashed
	c.Pages += o.Pages
}

// byLists counts the inodes that the super_blocks list.
func (c *inodeCensus) byLists(ctx context.Context) {
	c.total = c.newTally()
	buf := make([]byte, c.l.Span())
	for _, sb := range c.supers.all {
		for inode, err := range c.fs.Inodes(sb) {
			if ctx.Err() != nil {
				return
			}
			var b []byte
			if err == nil {
				b, err = c.fs.Kernel().Peek(inode, buf)
			}
			if err != nil {
				c.r.Coverage.Fail(fmt.Errorf("inodes of super_block %s: %w", sb.ID, err))
				continue
			}
			c.r.Coverage.Read++
			c.add(c.total, inode, b, 0)
		}
	}
}

// describe makes the report of what was counted.
func (c *inodeCensus) describe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := c.r
	r.Strange = c.total.strange
	types := make(map[string]*InodeType)
	for addr, n := range c.total.supers {
		sb := c.supers.byAddr[addr]
		r.Supers = append(r.Supers, InodeSuper{Addr: kernel.Addr(addr), ID: sb.ID, Type: sb.Type, Mounts: mountPaths(c.fs.Mounts(), addr), InodeCounts: *n})
		r.Inodes.plus(n)
		if types[sb.Type] == nil {
			types[sb.Type] = &InodeType{Type: sb.Type}
		}
		types[sb.Type].plus(n)
	}
	slices.SortFunc(r.Supers, func(a, b InodeSuper) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Addr, b.Addr))
	})
	for _, t := range types {
		r.FileSystems = append(r.FileSystems, *t)
	}
	slices.SortFunc(r.FileSystems, func(a, b InodeType) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Type, b.Type))
	})
	c.counters()
	err := c.describeDeleted(ctx)
	r.Findings = []finding.Finding{}
	if f := deletedHeld(r.Deleted, "inodes"); f != nil {
		r.Findings = append(r.Findings, *f)
	}
	return err
}

// counters compares with what /proc/sys/fs/inode-nr would have said.
func (c *inodeCensus) counters() {
	for _, one := range []struct {
		perCPU, global, what string
		counted              uint64
	}{
		{"nr_inodes", "inodes_stat.nr_inodes", "inodes that are not being freed", c.r.Inodes.Total - c.r.Inodes.Freeing},
		{"nr_unused", "inodes_stat.nr_unused", "inodes on an LRU", c.r.Inodes.OnLRU},
	} {
		if n, ok := kernelCount(c.fs.Kernel(), one.perCPU, one.global); ok {
			c.r.Counters = append(c.r.Counters, Counter{Name: one.perCPU, Kernel: n, Counted: int64(one.counted), What: one.what})
		}
	}
}

// describeDeleted says who uses inodes that have no name any more: through the dentry
// that was its last one.
func (c *inodeCensus) describeDeleted(ctx context.Context) error {
	k, r := c.fs.Kernel(), c.r
	off, ok := c.fs.AliasOffset()
	inodes := make(map[uint64]uint64) // by dentry
	var dentries []uint64
	for _, inode := range c.total.deleted.sorted() {
		node, err := k.Uint64(inode + c.l.Dentries.Offset())
		if err != nil {
			r.Coverage.Fail(err)
			continue
		}
		if !ok || node == 0 || node == inode+c.l.Dentries.Offset() {
			r.Deleted = append(r.Deleted, c.nameless(inode))
			continue
		}
		inodes[node-off] = inode
		dentries = append(dentries, node-off)
	}
	r.MoreDeleted = c.total.deleted.more
	by, err := findHolders(ctx, c.fs, c.slabs, dentries, &r.Coverage)
	if err != nil {
		return err
	}
	for _, at := range dentries {
		d, err := c.fs.Dentry(at)
		if err != nil || d.Inode != inodes[at] {
			r.Coverage.Fail(cmp.Or(err, fmt.Errorf("struct inode at %#x: its i_dentry leads to %#x, a dentry of another: %w", inodes[at], at, slab.ErrDamaged)))
			r.Deleted = append(r.Deleted, c.nameless(inodes[at]))
			continue
		}
		one := describeOne(c.fs, c.fs.Mounts(), d, &r.Coverage)
		one.Holders, one.More = by[at].list, by[at].more
		r.Deleted = append(r.Deleted, one)
	}
	slices.SortStableFunc(r.Deleted, func(a, b Held) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Path, b.Path))
	})
	return nil
}

// nameless describes an inode that no dentry stands for.
func (c *inodeCensus) nameless(inode uint64) Held {
	one := Held{Inode: kernel.Addr(inode)}
	i, err := c.fs.Inode(inode)
	if err != nil {
		c.r.Coverage.Fail(err)
		return one
	}
	one.Type, one.Number, one.Size, one.Links, one.Super = i.Type(), i.Number, i.Bytes, i.Links, kernel.Addr(i.Super)
	return one
}
