package vfs

import (
	"iter"

	"github.com/kmortem/mortem/kernel/list"
)

// Children yields the dentries whose parent is d, the newest first, by
// d_subdirs (until 6.7) or d_children (since 6.8). The Dentry is valid until the
// next step.
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
		for node, err := range walk(fs.k, head, fs.maxObjects(l.Size())) {
			if err != nil {
				yield(nil, err)
				return
			}
			addr := node - l.Sibling.Offset()
			b, err := fs.k.Peek(addr, buf)
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			l.decode(&child, addr, b)
			if !yield(&child, nil) {
				return
			}
		}
	}
}
