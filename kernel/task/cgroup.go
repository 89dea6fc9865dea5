package task

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cgroup"
	"github.com/kmortem/mortem/kernel/cstr"
)

// setLayout is struct css_set. dfl_cgrp, the group in the one hierarchy of version
// 2, is there since 3.16.
type setLayout struct {
	kernel.Layout `kernel:"struct css_set"`
	States        kernel.Bytes `kernel:"subsys"`
	Default       kernel.U64   `kernel:"dfl_cgrp,optional"`
}

// groupReader knows how tasks are in control groups.
type groupReader struct {
	k      *kernel.Kernel
	groups *cgroup.Reader // nil where the kernel has none
	set    setLayout
	of     kernel.U64 // cgroup_subsys_state.cgroup
	kind   kernel.U64 // cgroup_subsys_state.ss
	named  kernel.U64 // cgroup_subsys.name
}

func (g *groupReader) resolve(k *kernel.Kernel) {
	g.k = k
	var state struct {
		kernel.Layout `kernel:"struct cgroup_subsys_state"`
		Cgroup        kernel.U64 `kernel:"cgroup"`
		Subsys        kernel.U64 `kernel:"ss,optional"`
	}
	var subsys struct {
		kernel.Layout `kernel:"struct cgroup_subsys"`
		Name          kernel.U64 `kernel:"name,optional"`
	}
	if k.Resolve(&g.set) != nil || k.Resolve(&state) != nil {
		return
	}
	groups, err := cgroup.New(k)
	if err != nil {
		return
	}
	g.groups, g.of, g.kind = groups, state.Cgroup, state.Subsys
	if k.Resolve(&subsys) == nil {
		g.named = subsys.Name
	}
}

// Cgroup is the control group that a task is in, of one hierarchy.
type Cgroup struct {
	Addr        uint64   // virtual address of the struct cgroup
	Hierarchy   int      // its number; 0 for the one of version 2
	Controllers []string // that are bound to the hierarchy; empty for version 2
	Path        string   // in the hierarchy, escaped
}

// Cgroups are the control groups of a task: that of version 2 first, then those of
// the hierarchies of version 1 that have a controller. What was read comes with the
// first error.
func (d *Details) Cgroups(m *More) ([]Cgroup, error) {
	g := &d.group
	if g.groups == nil || m.cgroups == 0 {
		return nil, nil
	}
	b, err := d.k.Peek(m.cgroups, make([]byte, g.set.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct css_set at %#x: %w", m.cgroups, err)
	}
	var list []Cgroup
	var first error
	root := uint64(0)
	if g.set.Default.Has() {
		c, at, err := g.read(g.set.Default.Get(b))
		list, root, first = append(list, c), at, err
	}
	for _, state := range words(g.set.States.Get(b)) {
		if state == 0 {
			continue
		}
		if err := g.add(&list, state, root); err != nil && first == nil {
			first = err
		}
	}
	return list, first
}

// add adds the group of one controller, unless it is bound to the hierarchy of
// version 2, whose struct cgroup_root is at an address.
func (g *groupReader) add(list *[]Cgroup, state, version2 uint64) error {
	group, err := g.k.Uint64(state + g.of.Offset())
	if err != nil {
		return fmt.Errorf("struct cgroup_subsys_state at %#x: %w", state, err)
	}
	controller := g.controller(state)
	for i := range *list {
		if c := &(*list)[i]; c.Addr == group {
			if c.Hierarchy != 0 {
				c.Controllers = append(c.Controllers, controller)
			}
			return nil
		}
	}
	c, root, err := g.read(group)
	if root == version2 && root != 0 {
		return err
	}
	if c.Controllers = []string{controller}; controller == "" {
		c.Controllers = nil
	}
	*list = append(*list, c)
	return err
}

func (g *groupReader) controller(state uint64) string {
	if !g.kind.Has() || !g.named.Has() {
		return ""
	}
	const longest = 32
	subsys, err := g.k.Uint64(state + g.kind.Offset())
	if err != nil {
		return ""
	}
	name, err := g.k.Uint64(subsys + g.named.Offset())
	if err != nil {
		return ""
	}
	b, _ := g.k.CString(name, longest) // part of a name is better than none
	return cstr.Show(b)
}

// read reads a control group, and where its hierarchy's root structure is.
func (g *groupReader) read(addr uint64) (c Cgroup, root uint64, err error) {
	c.Addr = addr
	if root, c.Hierarchy, err = g.groups.Hierarchy(addr); err != nil {
		return c, 0, err
	}
	c.Path, err = g.groups.Path(addr)
	return c, root, err
}

// CgroupPath is the path of the struct cgroup at a kernel virtual address in its
// hierarchy, escaped. The error wraps kernel.ErrNotFound in a kernel without
// control groups, and a *kernel.ReadError where a name cannot be read.
func (d *Details) CgroupPath(addr uint64) (string, error) {
	if d.group.groups == nil {
		return "", fmt.Errorf("struct cgroup at %#x: this kernel has no control groups: %w", addr, kernel.ErrNotFound)
	}
	return d.group.groups.Path(addr)
}
