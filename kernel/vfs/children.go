package vfs

import (
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel/list"
)

// Children yields the dentries whose parent is d, the newest first, by
// d_subdirs (until 6.7) or d_children (since 6.8). The Dentry is valid until the
// next step. The walk ends at one that has another parent: the list leads into
// another directory's.
func (fs *FS) Children(d *Dentry) iter.Seq2[*Dentry, error] {
	l := &fs.dentry
	head := d.Addr + l.Children.Offset()
	walk := list.Circular
	if l.childrenAreHlist() {
		walk = list.Hlist
	}
	return func(yield func(*Dentry, error) bool) {
		var child Dentry
		buf := make([]byte, l.Span())
		i := 0
		for node, err := range walk(fs.k, head, fs.maxObjects(l.Size())) {
			if err != nil {
				yield(nil, fmt.Errorf("children of the dentry at %#x: %w", d.Addr, err))
				return
			}
			addr := node - l.Sibling.Offset()
			index := i
			i++
			b, err := fs.k.Peek(addr, buf)
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			l.decode(&child, addr, b)
			if child.Parent != d.Addr {
				yield(nil, &list.BreakError{Head: head, At: node, Index: index,
					Reason: fmt.Sprintf("its d_parent is %#x: it is no child of %#x", child.Parent, d.Addr)})
				return
			}
			if !yield(&child, nil) {
				return
			}
		}
	}
}
