package census

import (
	"cmp"
	"context"
	"slices"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/vfs"
)

// noUser is SB_NOUSER, MS_NOUSER: the file system is the kernel's own and nobody can
// mount it, as those of pipes, sockets and anonymous memory. Their dentries never
// hash.
const noUser = 1 << 31

// cursor is the flag of what readdir(2) puts among a directory's children to find its
// place again.
const cursor = "DENTRY_CURSOR"

// describeHeld says of unhashed dentries that are in use what they are, and who uses
// them.
func (d *describer) describeHeld(ctx context.Context) error {
	r, t := d.r, d.total
	var list []*vfs.Dentry
	var at []uint64
	for _, addr := range t.unhashed.sorted() {
		dentry, err := d.fs.Dentry(addr)
		if err != nil {
			r.Coverage.Fail(err)
			continue
		}
		if slices.Contains(d.fs.FlagNames(dentry.Flags), cursor) {
			continue
		}
		list, at = append(list, dentry), append(at, addr)
	}
	r.MoreHeld = t.unhashed.more
	var slabs *slab.Allocations
	if r.Source == SourceSlabs {
		slabs, _ = openSlabs(d.fs.Kernel()) // it was opened before
	}
	by, err := findHolders(ctx, d.fs, slabs, at, &r.Coverage)
	if err != nil {
		return err
	}
	for _, dentry := range list {
		one := describeOne(d.fs, d.mounts, dentry, &r.Coverage)
		one.Holders, one.More = by[dentry.Addr].list, by[dentry.Addr].more
		one.addChild(d.fs, dentry)
		r.Held = append(r.Held, one)
	}
	slices.SortStableFunc(r.Held, func(a, b Held) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Path, b.Path))
	})
	return nil
}

// addChild names a child, which holds its parent, where no other holder is known.
func (h *Held) addChild(fs *vfs.FS, d *vfs.Dentry) {
	if len(h.Holders) > 0 {
		return
	}
	for child, err := range fs.Children(d) {
		if err == nil {
			h.Holders = append(h.Holders, Holder{How: "child", At: kernel.Addr(child.Addr)})
		}
		return
	}
}

// describeOne says what a dentry that is held is.
func describeOne(fs *vfs.FS, mounts *vfs.Mounts, d *vfs.Dentry, cover *kernel.Coverage) Held {
	one := Held{Dentry: kernel.Addr(d.Addr), Inode: kernel.Addr(d.Inode), Super: kernel.Addr(d.Super), Count: d.Count}
	var err error
	if one.Path, err = mounts.PathOf(d); err != nil {
		cover.Fail(err)
	}
	if d.Inode == 0 {
		return one
	}
	inode, err := fs.Inode(d.Inode)
	if err != nil {
		cover.Fail(err)
		return one
	}
	one.Type, one.Number, one.Size, one.Links = inode.Type(), inode.Number, inode.Bytes, inode.Links
	return one
}
