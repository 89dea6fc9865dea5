package mem

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
	"github.com/kmortem/mortem/kernel/task"
)

// groupLayout is struct mem_cgroup (mm/memcontrol.c; include/linux/memcontrol.h since
// 4.5). Its counters are of struct page_counter, in pages, since 3.19 and in RHEL 7; of
// struct res_counter, in bytes, before.
type groupLayout struct {
	kernel.Layout `kernel:"struct mem_cgroup"`
	Memory        kernel.Offset `kernel:"memory|res"`
	Memsw         kernel.Offset `kernel:"memsw,optional"`
	Swap          kernel.Offset `kernel:"swap,optional"`
	Kmem          kernel.Offset `kernel:"kmem,optional"`
}

// stateLayout is struct cgroup_subsys_state, the first member of mem_cgroup. Since 3.16
// it has its own list of children.
type stateLayout struct {
	kernel.Layout `kernel:"struct cgroup_subsys_state"`
	Cgroup        kernel.U64    `kernel:"cgroup"`
	Sibling       kernel.Offset `kernel:"sibling,optional"`
	Children      kernel.Offset `kernel:"children,optional"`
	Flags         kernel.Uint   `kernel:"flags,optional"`
}

// cgroupLayout is struct cgroup before that: its children and their subsystems.
type cgroupLayout struct {
	kernel.Layout `kernel:"struct cgroup"`
	Sibling       kernel.Offset `kernel:"sibling,optional"`
	Children      kernel.Offset `kernel:"children,optional"`
	Subsys        kernel.Bytes  `kernel:"subsys"`
}

type counterLayout struct {
	kernel.Layout `kernel:"struct page_counter"`
	Usage         kernel.U64 `kernel:"usage.counter|count.counter"` // since 4.18, before
	Max           kernel.U64 `kernel:"max|limit"`
	Peak          kernel.U64 `kernel:"watermark,optional"`
	Failed        kernel.U64 `kernel:"failcnt,optional"`
}

type resCounterLayout struct {
	kernel.Layout `kernel:"struct res_counter"`
	Usage         kernel.U64 `kernel:"usage"`
	Max           kernel.U64 `kernel:"limit"`
	Peak          kernel.U64 `kernel:"max_usage"`
	Failed        kernel.U64 `kernel:"failcnt"`
}

// groups reads memory cgroups.
type groups struct {
	*analysis
	group   groupLayout
	state   stateLayout
	cgroup  cgroupLayout
	counter counterLayout
	unit    uint64 // bytes of what counters count
	index   int    // of the memory controller among a cgroup's, before 3.16
	online  uint64 // CSS_ONLINE
	paths   *task.Details
	left    int
}

const (
	maxCgroups = 1 << 20
	maxDepth   = 512
)

// readCgroups walks the memory cgroups from the root.
func (a *analysis) readCgroups() {
	root, err := a.k.Symbol("root_mem_cgroup")
	if err != nil {
		return // a kernel without
	}
	g := &groups{analysis: a, left: maxCgroups, online: 1 << 1, index: -1}
	if root, err = a.k.Uint64(root); err != nil {
		a.fail(fmt.Errorf("root_mem_cgroup: %w", err))
		return
	}
	if err := g.resolve(); err != nil {
		a.fail(err)
		return
	}
	if root != 0 {
		g.walk(root, 0)
	}
	slices.SortStableFunc(a.r.Cgroups, func(x, y Cgroup) int { return cmp.Compare(y.Usage, x.Usage) })
}

func (g *groups) resolve() error {
	for _, l := range []any{&g.group, &g.state} {
		if err := g.k.Resolve(l); err != nil {
			return err
		}
	}
	if g.unit = g.page; g.group.Memory.Path() == "memory" && g.k.HasType("struct page_counter") {
		if err := g.k.Resolve(&g.counter); err != nil {
			return err
		}
	} else {
		var l resCounterLayout
		if err := g.k.Resolve(&l); err != nil {
			return err
		}
		g.counter, g.unit = counterLayout(l), 1
	}
	if v, _, err := g.k.Info().Enumerator("CSS_ONLINE"); err == nil && v > 0 {
		g.online = uint64(v)
	}
	if !g.state.Children.Has() {
		if err := g.k.Resolve(&g.cgroup); err != nil {
			return err
		}
	}
	tasks, err := task.New(g.k)
	if err == nil {
		g.paths, err = task.NewDetails(tasks, g.fs)
	}
	return err
}

// walk reads a group and those below it.
func (g *groups) walk(addr uint64, depth int) {
	if g.left--; g.left < 0 || depth > maxDepth {
		g.fail(fmt.Errorf("memory cgroups: more than there can be"))
		return
	}
	b := make([]byte, g.state.Span())
	if _, err := g.k.Read(b, addr); err != nil {
		g.fail(fmt.Errorf("struct mem_cgroup at %#x: %w", addr, err))
		return
	}
	cgroup := g.state.Cgroup.Get(b)
	c := Cgroup{Addr: kernel.Addr(addr)}
	if g.state.Children.Has() && g.state.Flags.Has() {
		c.Offline = g.state.Flags.Get(b)&g.online == 0
	}
	path, err := g.paths.CgroupPath(cgroup)
	if c.Path = path; err != nil {
		g.fail(fmt.Errorf("path of the cgroup at %#x: %w", cgroup, err))
	}
	g.counters(&c, addr)
	g.r.Coverage.Read++
	g.r.Cgroups = append(g.r.Cgroups, c)
	for child, err := range g.children(addr, cgroup) {
		if err != nil {
			g.fail(fmt.Errorf("groups below the memory cgroup %s: %w", c.Path, err))
			break
		}
		g.walk(child, depth+1)
	}
}

func (g *groups) counters(c *Cgroup, addr uint64) {
	read := func(at kernel.Offset) (usage, limit, peak, failed uint64, ok bool) {
		if !at.Has() {
			return 0, 0, 0, 0, false
		}
		b, err := g.k.Peek(addr+at.Offset(), make([]byte, g.counter.Span()))
		if err != nil {
			g.fail(fmt.Errorf("counters of the memory cgroup %s: %w", c.Path, err))
			return 0, 0, 0, 0, false
		}
		usage, limit = g.counter.Usage.Get(b)*g.unit, g.counter.Max.Get(b)
		if limit >= 1<<62/g.unit {
			limit = 0 // PAGE_COUNTER_MAX
		}
		if g.counter.Peak.Has() {
			peak = g.counter.Peak.Get(b) * g.unit
		}
		if g.counter.Failed.Has() {
			failed = g.counter.Failed.Get(b)
		}
		return usage, limit * g.unit, peak, failed, true
	}
	c.Usage, c.Max, c.Peak, c.Failed, _ = read(g.group.Memory)
	for _, part := range []struct {
		at kernel.Offset
		to **uint64
	}{{g.group.Swap, &c.Swap}, {g.group.Memsw, &c.Memsw}, {g.group.Kmem, &c.Kernel}} {
		if usage, _, _, _, ok := read(part.at); ok {
			*part.to = &usage
		}
	}
	if c.Kernel != nil && *c.Kernel == 0 { // not counted in hierarchies of version 2
		c.Kernel = nil
	}
	if c.Swap != nil { // since 5.10 the same place is memsw in hierarchies of version 1
		c.Memsw = nil
	}
}

// children yields the memory cgroups directly below one.
func (g *groups) children(addr, cgroup uint64) func(yield func(uint64, error) bool) {
	return func(yield func(uint64, error) bool) {
		if g.state.Children.Has() {
			for link, err := range list.Circular(g.k, addr+g.state.Children.Offset(), maxCgroups) {
				if !yield(link-g.state.Sibling.Offset(), err) {
					return
				}
			}
			return
		}
		if g.index < 0 && !g.findIndex(addr, cgroup) || !g.cgroup.Children.Has() {
			return
		}
		for link, err := range list.Circular(g.k, cgroup+g.cgroup.Children.Offset(), maxCgroups) {
			state := uint64(0)
			if err == nil {
				state, err = g.k.Uint64(link - g.cgroup.Sibling.Offset() + g.cgroup.Subsys.Offset() + 8*uint64(g.index))
			}
			if err == nil && state == 0 {
				continue
			}
			if !yield(state, err) {
				return
			}
		}
	}
}

// findIndex finds out which of a cgroup's subsystems is the memory controller: the one
// that is the group at hand.
func (g *groups) findIndex(addr, cgroup uint64) bool {
	n := g.cgroup.Subsys.Len() / 8
	for i := range n {
		state, err := g.k.Uint64(cgroup + g.cgroup.Subsys.Offset() + 8*uint64(i))
		if err == nil && state == addr {
			g.index = i
			return true
		}
	}
	return false
}
