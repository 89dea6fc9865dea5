package census

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/listlru"
	"github.com/kmortem/mortem/kernel/vfs"
)

// describeLRU reads s_dentry_lru of all super_blocks: its counters, and its lists
// where these are short enough to be walked.
func (d *describer) describeLRU(ctx context.Context) error {
	lru, err := d.fs.LRU()
	if err != nil {
		d.r.Coverage.Fail(err)
		return nil
	}
	budget := int64(d.opt.Walk)
	memcgs := make(map[int]int64)
	for _, sb := range d.supers.all {
		if err := ctx.Err(); err != nil {
			return err
		}
		i := slices.IndexFunc(d.r.Supers, func(s Super) bool { return uint64(s.Addr) == sb.Addr })
		if i < 0 {
			d.r.Supers = append(d.r.Supers, Super{Addr: kernel.Addr(sb.Addr), ID: sb.ID, Type: sb.Type, Listed: true})
			i = len(d.r.Supers) - 1
		}
		s := &d.r.Supers[i]
		if n, err := lru.Counter(sb); err == nil {
			s.LRUCounter = &n
		} else {
			d.r.Coverage.Fail(err)
		}
		for list, err := range lru.Lists(sb) {
			if err != nil {
				d.r.Coverage.Fail(err)
				continue
			}
			one := List{Node: list.Node, Memcg: list.Memcg, Counter: list.Items}
			if list.Items <= budget && budget >= 0 {
				n := d.walkList(lru, sb, list)
				budget -= n
				one.Walked = &n
			}
			memcgs[list.Memcg] += list.Items
			if one.Counter != 0 || one.Walked != nil && *one.Walked != 0 {
				s.LRU = append(s.LRU, one)
			}
		}
	}
	d.describeMemcgs(memcgs)
	return nil
}

func (d *describer) walkList(lru *vfs.LRU, sb *vfs.SuperBlock, list listlru.List) int64 {
	n := int64(0)
	for _, err := range lru.Dentries(list) {
		if err != nil {
			d.r.Coverage.Fail(fmt.Errorf("s_dentry_lru of super_block %s: %w", sb.ID, err))
			break
		}
		n++
	}
	return n
}

// unusedByMemcg are the dentries on LRU lists among those that were chosen, of which no
// list has a counter.
func unusedByMemcg(c *charged) map[int]int64 {
	unused := make(map[int]int64)
	if c != nil {
		for id, l := range c.loads {
			unused[id] = int64(l.onLRU)
		}
	}
	return unused
}

// describeMemcgs puts the unused dentries of each memory cgroup beside all those that
// are charged to it. One is on the LRU list of the very cgroup that it is charged to.
func (d *describer) describeMemcgs(unused map[int]int64) {
	var loads map[int]load
	all := d.total.charged
	if all != nil {
		loads = all.loads
	}
	ids := make(map[int]bool)
	for id, n := range unused {
		ids[id] = ids[id] || n != 0
	}
	for id := range loads {
		ids[id] = true
	}
	if len(ids) == 0 || d.total.filter.any() && len(unused) < 2 && len(ids) < 2 {
		return // there are no memory cgroups
	}
	names := memcgPaths(d.fs.Kernel(), &d.r.Coverage)
	for id, shown := range ids {
		if !shown {
			continue
		}
		m := Memcg{ID: id, Path: names[id], OnLRU: unused[id]}
		if all != nil {
			l := loads[id]
			m.Dentries, m.Bytes = &l.objects, &l.bytes
		}
		d.r.Memcgs = append(d.r.Memcgs, m)
	}
	slices.SortFunc(d.r.Memcgs, func(a, b Memcg) int {
		return cmp.Or(cmp.Compare(loads[b.ID].objects, loads[a.ID].objects), cmp.Compare(b.OnLRU, a.OnLRU), cmp.Compare(a.ID, b.ID))
	})
}
