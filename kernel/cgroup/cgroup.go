// Package cgroup tells where a control group is: its path in its hierarchy, and which
// hierarchy that is. What differs between releases of struct cgroup is all here.
package cgroup

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
)

// groupLayout is struct cgroup (include/linux/cgroup-defs.h). What changed: its
// name is that of its directory's dentry until 3.9, a struct cgroup_name until 3.14
// (and in RHEL 7), and that of its kernfs_node since 3.15; its parent is self.parent
// since 3.16 and a member of its own before; the hierarchy is root in all releases,
// of another type until 3.14.
type groupLayout struct {
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

// Reader knows the layouts of control groups.
type Reader struct {
	k      *kernel.Kernel
	group  groupLayout
	node   nodeLayout
	idAt   uint64 // cgroup_root.hierarchy_id
	hasID  bool
	nameAt uint64 // cgroup_name.name
}

// New resolves the layouts. The error wraps kernel.ErrNotFound where the kernel has no
// control groups.
func New(k *kernel.Kernel) (*Reader, error) {
	r := &Reader{k: k}
	if err := k.Resolve(&r.group); err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	if k.Resolve(&r.node) != nil {
		r.group.Node = kernel.U64{}
	}
	if t, err := k.Type("struct cgroup_name"); err == nil {
		if f, err := t.Field("name"); err == nil {
			r.nameAt = uint64(f.Offset)
		}
	}
	for _, name := range []string{"struct cgroup_root", "struct cgroupfs_root"} {
		if t, err := k.Type(name); err == nil {
			if f, err := t.Field("hierarchy_id"); err == nil {
				r.idAt, r.hasID = uint64(f.Offset), true
			}
		}
	}
	return r, nil
}

// Hierarchy is the hierarchy of the struct cgroup at a kernel virtual address: the
// address of its struct cgroup_root, and its number, which is 0 for the one of version 2
// and where it cannot be read. The error wraps a *kernel.ReadError where the struct
// cgroup cannot be read.
func (r *Reader) Hierarchy(addr uint64) (root uint64, id int, err error) {
	if !r.group.Root.Has() {
		return 0, 0, nil
	}
	if root, err = r.k.Uint64(addr + r.group.Root.Offset()); err != nil {
		return 0, 0, fmt.Errorf("struct cgroup at %#x: %w", addr, err)
	}
	if r.hasID {
		if n, err := r.k.Uint32(root + r.idAt); err == nil {
			id = int(n)
		}
	}
	return root, id, nil
}

// maxDepth bounds how deep control groups can be nested.
const maxDepth = 4096

// Path is the path of the struct cgroup at a kernel virtual address in its hierarchy,
// escaped; "…" where it comes with an error from further up.
func (r *Reader) Path(addr uint64) (string, error) {
	// Climbs to the root of the hierarchy, which has no name.
	at, up := addr, r.oldParent
	if r.group.Node.Has() {
		var err error
		if at, err = r.k.Uint64(addr + r.group.Node.Offset()); err != nil {
			return "", fmt.Errorf("struct cgroup at %#x: %w", addr, err)
		}
		up = r.nodeParent
	}
	var parts []string
	for range maxDepth {
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

func (r *Reader) nodeParent(node uint64) (name string, parent uint64, err error) {
	b, err := r.k.Peek(node, make([]byte, r.node.Span()))
	if err != nil {
		return "", 0, err
	}
	if parent = r.node.Parent.Get(b); parent == 0 {
		return "", 0, nil
	}
	name, err = r.text(r.node.Name.Get(b))
	return name, parent, err
}

func (r *Reader) oldParent(group uint64) (name string, parent uint64, err error) {
	if !r.group.Parent.Has() {
		return "", 0, fmt.Errorf("struct cgroup has no parent: %w", kernel.ErrNotFound)
	}
	if parent, err = r.k.Uint64(group + r.group.Parent.Offset()); err != nil || parent == 0 {
		return "", 0, err
	}
	switch {
	case r.group.Name.Has() && r.nameAt != 0:
		at, err := r.k.Uint64(group + r.group.Name.Offset())
		if err != nil {
			return "", 0, err
		}
		name, err = r.text(at + r.nameAt)
		return name, parent, err
	case r.group.Dentry.Has():
		o, err := r.k.ObjectAt("struct cgroup", group)
		if err != nil {
			return "", 0, err
		}
		name, err = o.Field("dentry").Field("d_name.name").Text()
		return name, parent, err
	}
	return "?", parent, nil
}

// text reads a group's name, which NAME_MAX bounds.
func (r *Reader) text(at uint64) (string, error) {
	const longest = 256
	b, err := r.k.CString(at, longest)
	return cstr.Show(b), err
}
