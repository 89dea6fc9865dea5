package mem

import (
	"cmp"
	"slices"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/memcg"
)

// readCgroups reads the memory cgroups.
func (a *analysis) readCgroups() {
	groups, err := memcg.New(a.k)
	if err != nil {
		a.fail(err) // none, where the kernel is without
		return
	}
	for g, err := range groups.All() {
		if err != nil {
			a.fail(err)
		}
		if g == nil {
			continue
		}
		counters, errs := groups.Counters(g)
		for _, err := range errs {
			a.fail(err)
		}
		a.r.Coverage.Read++
		a.r.Cgroups = append(a.r.Cgroups, describeCgroup(g, &counters))
	}
	slices.SortStableFunc(a.r.Cgroups, func(x, y Cgroup) int { return cmp.Compare(y.Usage, x.Usage) })
}

func describeCgroup(g *memcg.Group, c *memcg.Counters) Cgroup {
	usage := func(c *memcg.Counter) *uint64 {
		if c == nil {
			return nil
		}
		return &c.Usage
	}
	m := &c.Memory
	return Cgroup{Addr: kernel.Addr(g.Addr), Path: g.Path, Offline: g.Offline, Usage: m.Usage, Max: m.Max, Peak: m.Peak, Failed: m.Failed,
		Swap: usage(c.Swap), Memsw: usage(c.Memsw), Kernel: usage(c.Kernel)}
}
