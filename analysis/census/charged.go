package census

import (
	"cmp"
	"maps"
	"slices"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/memcg"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/sweep"
)

// load is how many objects are charged to one memory cgroup.
type load struct{ objects, bytes, onLRU uint64 }

func (l load) plus(o load) load {
	return load{l.objects + o.objects, l.bytes + o.bytes, l.onLRU + o.onLRU}
}

// chargeTally counts by memory cgroup what one worker sees. Without charges, on
// kernels that do not record them, it counts nothing.
type chargeTally struct {
	charges *slab.Charges
	loads   map[uint64]*load // by mem_cgroup, 0 for none
	pfn     uint64           // of the slab at hand
	memcg   uint64           // of the object before
	current *load
	unknown uint64
}

// newChargeTallies makes one for each worker; the error says why there are no charges.
func newChargeTallies(slabs *slab.Allocations, workers int) ([]chargeTally, error) {
	list := make([]chargeTally, workers)
	for i := range list {
		charges, err := slabs.NewCharges()
		if err != nil {
			return list, err
		}
		list[i] = chargeTally{charges: charges, loads: make(map[uint64]*load)}
	}
	return list, nil
}

func (t *chargeTally) slab(s *sweep.Slab) {
	if t.charges != nil {
		t.charges.Coverage.At(t.pfn) // what failed at the slab before
		t.pfn = s.PFN
		t.charges.ReadBy(s)
		t.charges.Load(&s.Slab)
	}
}

// count counts the i-th object of the slab, of a size in bytes.
func (t *chargeTally) count(i int, size uint64, onLRU bool) {
	if t.charges == nil {
		return
	}
	memcg, ok := t.charges.Memcg(i)
	if ok && (t.current == nil || memcg != t.memcg) {
		one := t.loads[memcg]
		if one == nil && len(t.loads) < maxMemcgs {
			one = new(load)
			t.loads[memcg] = one
		}
		t.memcg, t.current, ok = memcg, one, one != nil
	}
	if !ok {
		t.unknown++
		return
	}
	t.current.objects++
	t.current.bytes += size
	if onLRU {
		t.current.onLRU++
	}
}

// charged is what all workers counted, by kmemcg_id.
type charged struct {
	loads   map[int]load
	unknown uint64
}

func mergeCharges(k *kernel.Kernel, list []chargeTally, cover *kernel.Coverage) *charged {
	c := &charged{loads: make(map[int]load)}
	byAddr := make(map[uint64]load)
	var covers []*kernel.PartCoverage
	for i := range list {
		c.unknown += list[i].unknown
		if list[i].charges != nil {
			covers = append(covers, &list[i].charges.Coverage)
		}
		for addr, l := range list[i].loads {
			byAddr[addr] = byAddr[addr].plus(*l)
		}
	}
	cover.Add(kernel.JoinCoverage(covers))
	groups, resolved := memcg.New(k)
	for _, addr := range slices.Sorted(maps.Keys(byAddr)) {
		id, l := -1, byAddr[addr]
		if addr != 0 {
			err := resolved
			if err == nil {
				id, err = groups.ID(addr)
			}
			if err != nil {
				cover.Fail(err)
				c.unknown += l.objects
				continue
			}
		}
		c.loads[id] = c.loads[id].plus(l)
	}
	return c
}

// inodeMemcgs are the inodes by memory cgroup, those with the most first; none where
// all belong to no cgroup.
func inodeMemcgs(k *kernel.Kernel, c *charged, cover *kernel.Coverage) []InodeMemcg {
	if c == nil || len(c.loads) == 0 || len(c.loads) == 1 && c.loads[-1].objects > 0 {
		return nil
	}
	names := memcgPaths(k, cover)
	var list []InodeMemcg
	for id, l := range c.loads {
		list = append(list, InodeMemcg{ID: id, Path: names[id], Inodes: l.objects, Bytes: l.bytes})
	}
	slices.SortFunc(list, func(a, b InodeMemcg) int {
		return cmp.Or(cmp.Compare(b.Inodes, a.Inodes), cmp.Compare(a.ID, b.ID))
	})
	return list
}
