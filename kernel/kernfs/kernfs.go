// Package kernfs reads the directories that sysfs shows, without a mounted file
// system: struct kernfs_node (include/linux/kernfs.h, since 3.14), before that struct
// sysfs_dirent (fs/sysfs/sysfs.h).
package kernfs

import (
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/rbtree"
)

// Reader knows the layout of directories.
type Reader struct {
	k    *kernel.Kernel
	node nodeLayout
	sd   uint64 // where in struct kobject its directory is
}

// nodeLayout is struct kernfs_node or struct sysfs_dirent. The children of a
// directory are a tree since 3.5, a list before.
type nodeLayout struct {
	kernel.Layout `kernel:"struct kernfs_node"`
	Text          kernel.U64    `kernel:"name"`
	Flags         kernel.Uint   `kernel:"flags"`
	RB            kernel.Offset `kernel:"rb,optional"`
	Children      kernel.U64    `kernel:"dir.children.rb_node"`
	Sibling       kernel.U64    `kernel:"-,optional"`
	Target        kernel.U64    `kernel:"symlink.target_kn"`
	Object        kernel.U64    `kernel:"priv"`
}

type direntLayout struct {
	kernel.Layout `kernel:"struct sysfs_dirent"`
	Text          kernel.U64    `kernel:"s_name"`
	Flags         kernel.Uint   `kernel:"s_flags"`
	RB            kernel.Offset `kernel:"s_rb,optional"`
	Children      kernel.U64    `kernel:"s_dir.children.rb_node|s_dir.children"`
	Sibling       kernel.U64    `kernel:"s_sibling,optional"`
	Target        kernel.U64    `kernel:"s_symlink.target_sd"`
	Object        kernel.U64    `kernel:"s_dir.kobj"`
}

// The kinds of nodes: KERNFS_DIR and KERNFS_LINK, SYSFS_DIR and SYSFS_KOBJ_LINK.
const (
	kindDir     = 1
	kindLink    = 4
	kindOldLink = 8 // SYSFS_KOBJ_LINK: 8 until 3.13
	kindMask    = 0xf
)

// Open resolves the layouts. They are those of struct kernfs_node
// (include/linux/kernfs.h, since 3.14), or of struct sysfs_dirent before. The
// error wraps kernel.ErrNotFound where the kernel has neither.
func Open(k *kernel.Kernel) (*Reader, error) {
	r := &Reader{k: k}
	t, err := k.Type("struct kobject")
	if err != nil {
		return nil, err
	}
	f, err := t.Field("sd")
	if err != nil {
		return nil, err
	}
	r.sd = uint64(f.Offset)
	if k.HasType("struct kernfs_node") {
		return r, k.Resolve(&r.node)
	}
	var l direntLayout
	if err := k.Resolve(&l); err != nil {
		return nil, err
	}
	r.node = nodeLayout(l)
	return r, nil
}

// Entry is one entry of a directory.
type Entry struct {
	Addr   uint64 // virtual address of the struct kernfs_node
	Name   string // escaped
	Dir    bool
	Link   bool
	Object uint64 // of a directory, or of that which a link leads to: the struct kobject it stands for
}

const (
	maxEntries = 1 << 20
	maxName    = 256
)

// Entries yields the entries of the directory of a struct kobject at a virtual
// address. An error is that of one entry, or of a part of the directory.
func (r *Reader) Entries(kobject uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		dir, err := r.k.Uint64(kobject + r.sd)
		if err != nil {
			yield(Entry{}, fmt.Errorf("directory of the struct kobject at %#x: %w", kobject, err))
			return
		}
		if dir == 0 {
			return // it is in no sysfs
		}
		nodes := r.siblings(dir)
		if r.node.RB.Has() {
			nodes = rbtree.Nodes(r.k, dir+r.node.Children.Offset(), maxEntries)
		}
		for at, err := range nodes {
			var e Entry
			if err == nil {
				e, err = r.entry(at - r.node.RB.Offset())
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// siblings yields the entries of a directory until 3.4.
func (r *Reader) siblings(dir uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		at, err := r.k.Uint64(dir + r.node.Children.Offset())
		for n := 0; err == nil && at != 0; n++ {
			if n == maxEntries {
				err = fmt.Errorf("the directory at %#x goes in a circle", dir)
				break
			}
			if !yield(at, nil) {
				return
			}
			at, err = r.k.Uint64(at + r.node.Sibling.Offset())
		}
		if err != nil {
			yield(0, err)
		}
	}
}

func (r *Reader) entry(addr uint64) (Entry, error) {
	l := &r.node
	b, err := r.k.Peek(addr, make([]byte, l.Span()))
	if err != nil {
		return Entry{}, fmt.Errorf("%s at %#x: %w", l.Name(), addr, err)
	}
	kind := l.Flags.Get(b) & kindMask
	link := uint64(kindLink)
	if l.Name() == "struct sysfs_dirent" {
		link = kindOldLink
	}
	e := Entry{Addr: addr, Dir: kind == kindDir, Link: kind == link}
	name, err := r.k.CString(l.Text.Get(b), maxName)
	e.Name = cstr.Show(name)
	if err != nil {
		return e, fmt.Errorf("%s at %#x: its name: %w", l.Name(), addr, err)
	}
	switch {
	case e.Dir:
		e.Object = l.Object.Get(b)
	case e.Link:
		if e.Object, err = r.k.Uint64(l.Target.Get(b) + l.Object.Offset()); err != nil {
			return e, fmt.Errorf("%s at %#x: where it leads: %w", l.Name(), addr, err)
		}
	}
	return e, nil
}
