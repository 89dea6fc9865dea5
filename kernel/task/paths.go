package task

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/vfs"
)

// paths names what a struct path (include/linux/path.h: a mount and a dentry)
// stands for, as /proc does for a reader at the machine's root.
type paths struct {
	k  *kernel.Kernel
	fs *vfs.FS
	// Offsets; 0 for what the kernel does not have.
	inner   uint64 // of the struct vfsmount in the struct mount
	private uint64 // of i_private in struct inode
	nsOps   uint64 // of ops in struct ns_common
	dname   uint64 // of d_dname in struct dentry_operations

	once   sync.Once
	mounts map[uint64]*vfs.Mount
}

func newPaths(fs *vfs.FS) (*paths, error) {
	k := fs.Kernel()
	p := &paths{k: k, fs: fs}
	offset := func(typeName, path string, to *uint64) {
		if t, err := k.Type(typeName); err == nil {
			if f, err := t.Field(path); err == nil {
				*to = uint64(f.Offset)
			}
		}
	}
	offset("struct mount", "mnt", &p.inner) // one and the same before 3.3
	offset("struct inode", "i_private", &p.private)
	offset("struct ns_common", "ops", &p.nsOps)
	offset("struct dentry_operations", "d_dname", &p.dname)
	return p, nil
}

func (p *paths) mount(addr uint64) (*vfs.Mount, bool) {
	p.once.Do(func() {
		all := p.fs.Mounts().All()
		p.mounts = make(map[uint64]*vfs.Mount, len(all))
		for _, m := range all {
			p.mounts[m.Addr] = m
		}
	})
	m, ok := p.mounts[addr]
	if !ok && !p.fs.AllMounts() {
		var err error
		m, err = p.fs.Mount(addr)
		ok = err == nil && m.Root != 0 && m.Super != 0
	}
	return m, ok
}

// of names a path. A name that was deleted is followed by " (deleted)". A part that
// cannot be read becomes "…", and the error comes with the rest.
func (p *paths) of(vfsmount, dentry uint64) (string, error) {
	if dentry == 0 {
		return "", nil
	}
	d, err := p.fs.Dentry(dentry)
	if err != nil {
		return "", err
	}
	if name, ok := p.special(d); ok {
		return name, nil
	}
	deleted := ""
	if !p.fs.Hashed(d) && !d.Root() {
		deleted = " (deleted)"
	}
	path, _, err := p.climb(place{vfsmount - p.inner, d}, place{})
	return path + deleted, err
}

// maxParts bounds how many names a path can have.
const maxParts = 1 << 16

// place is a struct path: a mount, by its address, and a dentry in it.
type place struct {
	mount  uint64
	dentry *vfs.Dentry
}

// climb collects the names from a place up to another one, or to the root of the
// topmost mount where it does not meet that.
func (p *paths) climb(at, top place) (path string, met bool, err error) {
	var parts []string
	finish := func(start string) string {
		slices.Reverse(parts)
		if len(parts) == 0 && start == "" {
			return "/"
		}
		return start + strings.Join(parts, "")
	}
	d := at.dentry
	m, known := p.mount(at.mount)
	for range maxParts {
		switch {
		case known && top.dentry != nil && m.Addr == top.mount && d.Addr == top.dentry.Addr:
			return finish(""), true, nil
		case known && d.Addr == m.Root && m.Parent == m.Addr:
			return finish(""), false, nil
		case known && d.Addr == m.Root:
			up, err := p.fs.Dentry(m.Mountpoint)
			if err != nil {
				return finish("…"), false, err
			}
			d = up
			m, known = p.mount(m.Parent)
		case d.Root():
			return finish(""), false, nil
		default:
			name, err := p.fs.NameOf(d)
			if err != nil {
				return finish("…"), false, err
			}
			parts = append(parts, "/"+name)
			if d, err = p.fs.Dentry(d.Parent); err != nil {
				return finish("…"), false, err
			}
		}
	}
	return finish("…"), false, fmt.Errorf("struct dentry at %#x has more than %d ancestors", d.Addr, maxParts)
}

// special names the objects that lie in no directory: pipes, sockets, namespaces
// and the like, by the function that the kernel names them with
// (dentry_operations.d_dname).
func (p *paths) special(d *vfs.Dentry) (string, bool) {
	if p.dname == 0 || d.Op == 0 {
		return "", false
	}
	function, err := p.k.Uint64(d.Op + p.dname)
	if err != nil || function == 0 {
		return "", false
	}
	symbol, _, ok := p.k.SymbolAt(function)
	if !ok {
		return "", false
	}
	name, err := p.fs.NameOf(d)
	if err != nil {
		name = "…"
	}
	switch symbol.Name {
	case "pipefs_dname":
		return fmt.Sprintf("pipe:[%d]", p.number(d)), true
	case "sockfs_dname":
		return fmt.Sprintf("socket:[%d]", p.number(d)), true
	case "anon_inodefs_dname":
		return "anon_inode:" + name, true
	case "ns_dname":
		return fmt.Sprintf("%s:[%d]", p.namespaceKind(d), p.number(d)), true
	case "pidfs_dname": // since 6.9; before, pidfds were anonymous inodes
		return "anon_inode:[pidfd]", true
	case "simple_dname":
		return "/" + name + " (deleted)", true
	case "dmabuffs_dname":
		return "/dmabuf:" + name, true
	}
	return "", false
}

func (p *paths) number(d *vfs.Dentry) uint64 {
	i, err := p.fs.Inode(d.Inode)
	if err != nil {
		return 0
	}
	return i.Number
}

// namespaceKind is the name in the struct proc_ns_operations of the struct ns_common
// that i_private points to (fs/nsfs.c, since 3.19).
func (p *paths) namespaceKind(d *vfs.Dentry) string {
	const unknown, longest = "ns", 16
	if p.private == 0 || p.nsOps == 0 {
		return unknown
	}
	at := d.Inode + p.private
	for _, offset := range []uint64{0, p.nsOps, 0} { // name is the first member of the last
		next, err := p.k.Uint64(at + offset)
		if err != nil {
			return unknown
		}
		at = next
	}
	b, err := p.k.CString(at, longest)
	if err != nil || len(b) == 0 {
		return unknown
	}
	return cstr.Show(b)
}
