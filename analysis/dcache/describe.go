package dcache

import (
	"slices"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/vfs"
)

// describer looks into single chains.
type describer struct {
	fs     *vfs.FS
	table  *vfs.HashTable
	opt    Options
	owners *ownership
	mounts *vfs.Mounts
	supers map[uint64]*vfs.SuperBlock
	cover  *kernel.Coverage
}

func newDescriber(fs *vfs.FS, table *vfs.HashTable, opt Options, cover *kernel.Coverage) *describer {
	d := &describer{fs: fs, table: table, opt: opt, mounts: fs.Mounts(),
		supers: make(map[uint64]*vfs.SuperBlock), cover: cover}
	d.cover.Add(problemsOf(d.mounts.Coverage))
	d.owners = newOwnership(fs.Kernel(), cover)
	return d
}

// problemsOf is a coverage without its count of objects read, for walks that
// the report does not count.
func problemsOf(c kernel.Coverage) kernel.Coverage {
	c.Read = 0
	return c
}

// maxGroups bounds how many names are told apart in one chain.
const maxGroups = 256

type groupKey struct {
	parent uint64
	name   string
}

// group is a Group in the making.
type group struct {
	Group
	first  uint64 // address of the first dentry
	owners *ownerTally
	pins   pinTally
}

// describe walks one chain again and says what is in it.
func (d *describer) describe(bucket uint64) Chain {
	c := Chain{Bucket: bucket, Addr: kernel.Addr(d.table.BucketAddr(bucket))}
	groups := make(map[groupKey]*group)
	var order []*group
	for e, err := range d.table.Chain(bucket) {
		if err != nil {
			c.Broken = err.Error() // counted by the survey
			break
		}
		c.Length++
		c.Dentries.add(d.fs, e.Dentry)
		name, err := d.fs.RawName(e.Dentry)
		if err != nil {
			d.cover.Fail(err)
		}
		key := groupKey{e.Dentry.Parent, string(name)}
		g := groups[key]
		if g == nil {
			if len(order) == maxGroups {
				c.MoreGroups++
				continue
			}
			g = d.newGroup(e.Dentry)
			groups[key] = g
			order = append(order, g)
		}
		d.count(g, e)
	}
	slices.SortStableFunc(order, func(a, b *group) int {
		return int(b.Dentries.Total) - int(a.Dentries.Total)
	})
	for _, g := range order {
		c.Groups = append(c.Groups, d.finish(g))
	}
	return c
}

func (d *describer) newGroup(first *vfs.Dentry) *group {
	g := &group{first: first.Addr, Group: Group{Parent: kernel.Addr(first.Parent), SuperBlock: kernel.Addr(first.Super)}}
	if d.owners.sysctl != nil && d.owners.sysctl.Owns(first) {
		g.owners = newOwnerTally()
	}
	return g
}

// count adds one dentry of a chain to its group.
func (d *describer) count(g *group, e *vfs.Entry) {
	g.Dentries.add(d.fs, e.Dentry)
	entry := Entry{Index: e.Index, Addr: kernel.Addr(e.Dentry.Addr), Inode: kernel.Addr(e.Dentry.Inode),
		Count: e.Dentry.Count, OnLRU: d.fs.OnLRU(e.Dentry)}
	if g.owners != nil && !e.Dentry.Negative() {
		d.owners.identify(e.Dentry, &entry)
		g.owners.add(&entry)
	}
	d.samplePins(g, e.Dentry)
	if d.opt.Entries < 0 || len(g.Entries) < d.opt.Entries {
		g.Entries = append(g.Entries, entry)
	}
}

// finish fills in what is the same for all of a group.
func (d *describer) finish(g *group) Group {
	first, err := d.fs.Dentry(g.first)
	if err != nil {
		d.cover.Fail(err)
		return g.Group
	}
	if g.Name, err = d.fs.NameOf(first); err != nil {
		d.cover.Fail(err)
	}
	if parent, err := d.fs.Dentry(first.Parent); err != nil {
		d.cover.Fail(err)
	} else if g.Path, err = d.mounts.PathOf(parent); err != nil {
		d.cover.Fail(err)
	}
	if sb := d.super(first.Super); sb != nil {
		g.SuperID, g.FileSystem = sb.ID, sb.Type
	}
	if g.owners != nil {
		g.Owners = d.owners.finish(g.owners)
	}
	g.Pins = g.pins.finish()
	return g.Group
}

func (d *describer) super(addr uint64) *vfs.SuperBlock {
	sb, known := d.supers[addr]
	if !known {
		var err error
		if sb, err = d.fs.SuperBlock(addr); err != nil {
			d.cover.Fail(err)
		}
		d.supers[addr] = sb
	}
	return sb
}
