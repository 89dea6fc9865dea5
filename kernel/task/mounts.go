package task

import (
	"cmp"
	"fmt"

	"github.com/kmortem/mortem/kernel/vfs"
)

// Mount is a mount that a task can reach, as /proc/PID/mountinfo tells it.
type Mount struct {
	*vfs.Mount
	SB       *vfs.SuperBlock
	ParentID int32  // mnt_id of the mount that it is on
	Inside   string // what of its file system is mounted: the path within that
	Path     string // where it is mounted, seen from the task's root
}

// Mounts are the mounts of the task's mount namespace that lie below its root, in
// the order of /proc/PID/mounts. What was read comes with the first error.
func (d *Details) Mounts(t *Task, m *More) ([]Mount, error) {
	if t.Nsproxy == 0 {
		return nil, nil // it exited
	}
	b, err := d.k.Peek(t.Nsproxy, make([]byte, d.proxy.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct nsproxy at %#x: %w", t.Nsproxy, err)
	}
	namespace := d.proxy.Mount.Or0(b)
	if namespace == 0 {
		return nil, nil
	}
	root, err := d.root(m)
	found, listErr := d.paths.fs.MountsIn(namespace)
	err = cmp.Or(err, listErr)
	supers := map[uint64]*vfs.SuperBlock{}
	var list []Mount
	for _, v := range found {
		one, ok, mountErr := d.mount(v, root, supers)
		err = cmp.Or(err, mountErr)
		if ok {
			list = append(list, one)
		}
	}
	return list, err
}

// mount tells where a mount is. It is false for one that lies outside of the
// task's root.
func (d *Details) mount(v *vfs.Mount, root place, supers map[uint64]*vfs.SuperBlock) (Mount, bool, error) {
	one := Mount{Mount: v, ParentID: v.ID}
	top, err := d.paths.fs.Dentry(v.Root)
	if err != nil {
		return one, false, err
	}
	path, met, err := d.paths.climb(place{v.Addr, top}, root)
	if !met && root.dentry != nil && err == nil {
		return one, false, nil
	}
	one.Path = path
	if up, known := d.paths.mount(v.Parent); known {
		one.ParentID = up.ID
	}
	var ok bool
	if one.Inside, ok = d.paths.special(top); !ok {
		var pathErr error
		one.Inside, pathErr = d.paths.fs.Path(top)
		err = cmp.Or(err, pathErr)
	}
	if supers[v.Super] == nil {
		sb, superErr := d.paths.fs.SuperBlock(v.Super)
		err = cmp.Or(err, superErr)
		if sb == nil {
			sb = &vfs.SuperBlock{Addr: v.Super}
		}
		supers[v.Super] = sb
	}
	one.SB = supers[v.Super]
	return one, true, err
}

// root is the task's root directory; nowhere for a task that exited.
func (d *Details) root(m *More) (place, error) {
	b, err := d.directories(m)
	if b == nil {
		return place{}, err
	}
	l := &d.files.fs
	dentry, err := d.paths.fs.Dentry(l.Root.Get(b))
	if err != nil {
		return place{}, fmt.Errorf("its root: %w", err)
	}
	return place{l.RootMount.Get(b) - d.paths.inner, dentry}, nil
}
