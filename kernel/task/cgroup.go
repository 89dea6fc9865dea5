package task

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
)

// cgroupLayout is struct cgroup (include/linux/cgroup-defs.h). What changed: its
// name is that of its directory's dentry until 3.9, a struct cgroup_name until 3.14
// (and in RHEL 7), and that of its kernfs_node since 3.15; its parent is self.parent
// since 3.16 and a member of its own before; the hierarchy is root in all releases,
// of another type until 3.14.
type cgroupLayout struct {
	kernel.Layout `kernel:"struct cgroup"`
	Node          kernel.U64 `kernel:"kn,optional"`
	Name          kernel.U64 `kernel:"name,optional"`
	Dentry        kernel.U64 `kernel:"dentry,optional"`
	Parent        kernel.U64 `kernel:"parent,optional"`
	Root          kernel.U64 `kernel:"root,optional"`
}

// nodeLayout is struct kernfs_node (include/linux/kernfs.h). parent was renamed in
// 6.15.
type nodeLayout struct {
	kernel.Layout `kernel:"struct kernfs_node"`
	Parent        kernel.U64 `kernel:"parent|__parent"`
	Name          kernel.U64 `kernel:"name"`
}

// setLayout is struct css_set. dfl_cgrp, the group in the one hierarchy of version
// 2, is there since 3.16.
type setLayout struct {
	kernel.Layout `kernel:"struct css_set"`
	States        kernel.Bytes `kernel:"subsys"`
	Default       kernel.U64   `kernel:"dfl_cgrp,optional"`
}

// groupReader knows the layouts of control groups.
type groupReader struct {
	k      *kernel.Kernel
	ok     bool // the kernel has control groups
	set    setLayout
	group  cgroupLayout
	node   nodeLayout
	of     kernel.U64 // cgroup_subsys_state.cgroup
	kind   kernel.U64 // cgroup_subsys_state.ss
	named  kernel.U64 // cgroup_subsys.name
	idAt   uint64     // cgroup_root.hierarchy_id
	hasID  bool
	nameAt uint64 // cgroup_name.name
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
	if k.Resolve(&g.set) != nil || k.Resolve(&g.group) != nil || k.Resolve(&state) != nil {
		return
	}
	g.ok, g.of, g.kind = true, state.Cgroup, state.Subsys
	if k.Resolve(&subsys) == nil {
		g.named = subsys.Name
	}
	if k.Resolve(&g.node) != nil {
		g.group.Node = kernel.U64{}
	}
	if t, err := k.Type("struct cgroup_name"); err == nil {
		if f, err := t.Field("name"); err == nil {
			g.nameAt = uint64(f.Offset)
		}
	}
	for _, name := range []string{"struct cgroup_root", "struct cgroupfs_root"} {
		if t, err := k.Type(name); err == nil {
			if f, err := t.Field("hierarchy_id"); err == nil {
				g.idAt, g.hasID = uint64(f.Offset), true
			}
		}
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
	if !g.ok || m.cgroups == 0 {
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
	if g.group.Root.Has() {
		if root, err = g.k.Uint64(addr + g.group.Root.Offset()); err != nil {
			return c, 0, fmt.Errorf("struct cgroup at %#x: %w", addr, err)
		}
		if g.hasID {
			if id, err := g.k.Uint32(root + g.idAt); err == nil {
				c.Hierarchy = int(id)
			}
		}
	}
	c.Path, err = g.path(addr)
	return c, root, err
}

// CgroupPath is the path of the struct cgroup at a kernel virtual address in its
// hierarchy, escaped.
func (d *Details) CgroupPath(addr uint64) (string, error) { return d.group.path(addr) }

// maxGroups bounds how deep control groups can be nested.
const maxGroups = 4096

// path climbs from a group to the root of its hierarchy, which has no name.
func (g *groupReader) path(addr uint64) (string, error) {
	at, up := addr, g.oldParent
	if g.group.Node.Has() {
		var err error
		if at, err = g.k.Uint64(addr + g.group.Node.Offset()); err != nil {
			return "", fmt.Errorf("struct cgroup at %#x: %w", addr, err)
		}
		up = g.nodeParent
	}
	var parts []string
	for range maxGroups {
		if at == 0 {
			break
		}
		name, parent, err := up(at)
		if err != nil {
			return "…", fmt.Errorf("path of the struct cgroup at %#x: %w", addr, err)
		}
		if parent != 0 {
			parts = append(parts, name)
		}
		at = parent
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/"), nil
}

func (g *groupReader) nodeParent(node uint64) (name string, parent uint64, err error) {
	b, err := g.k.Peek(node, make([]byte, g.node.Span()))
	if err != nil {
		return "", 0, err
	}
	if parent = g.node.Parent.Get(b); parent == 0 {
		return "", 0, nil
	}
	name, err = g.text(g.node.Name.Get(b))
	return name, parent, err
}

func (g *groupReader) oldParent(group uint64) (name string, parent uint64, err error) {
	if !g.group.Parent.Has() {
		return "", 0, fmt.Errorf("struct cgroup has no parent: %w", kernel.ErrNotFound)
	}
	if parent, err = g.k.Uint64(group + g.group.Parent.Offset()); err != nil || parent == 0 {
		return "", 0, err
	}
	switch {
	case g.group.Name.Has() && g.nameAt != 0:
		at, err := g.k.Uint64(group + g.group.Name.Offset())
		if err != nil {
			return "", 0, err
		}
		name, err = g.text(at + g.nameAt)
		return name, parent, err
	case g.group.Dentry.Has():
		o, err := g.k.ObjectAt("struct cgroup", group)
		if err != nil {
			return "", 0, err
		}
		name, err = o.Field("dentry").Field("d_name.name").Text()
		return name, parent, err
	}
	return "?", parent, nil
}

// text reads a group's name, which NAME_MAX bounds.
func (g *groupReader) text(at uint64) (string, error) {
	const longest = 256
	b, err := g.k.CString(at, longest)
	return cstr.Show(b), err
}
