package vfs

import (
	"errors"
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
	"github.com/kmortem/mortem/kernel/listlru"
)

// LRU reads the super_blocks' lists of unused dentries, s_dentry_lru, in both
// forms: a plain list with a counter beside it (until 3.11, and RHEL 7) and a
// struct list_lru (since 3.12).
type LRU struct {
	fs     *FS
	lists  *listlru.Reader // nil where s_dentry_lru is a plain list
	offset uint64          // of d_lru in struct dentry
}

// LRU resolves the form that this kernel has. That is a list with a counter in
// struct super_block until 3.11, and a struct list_lru since 3.12. The error
// wraps kernel.ErrNotFound where it is neither.
func (fs *FS) LRU() (*LRU, error) {
	l := &LRU{fs: fs, offset: fs.dentry.LRUNext.Offset()}
	if fs.super.NrUnused.Has() {
		return l, nil
	}
	r, err := listlru.New(fs.k)
	if errors.Is(err, kernel.ErrNotFound) && !fs.k.HasType("struct list_lru") {
		return nil, fmt.Errorf("s_dentry_lru is neither a counted list nor a struct list_lru: %w", err)
	}
	l.lists = r
	return l, err
}

// Counter is the number of unused dentries as the kernel counts them itself.
// The error wraps a *kernel.ReadError where a counter cannot be read.
func (l *LRU) Counter(sb *SuperBlock) (int64, error) {
	if l.lists == nil {
		return int64(sb.unusedCounter), nil
	}
	return l.lists.Counter(sb.Addr + l.fs.super.DentryLRU.Offset())
}

// Lists yields the lists of a super_block: one without list_lru, and otherwise
// one for each NUMA node and memory cgroup.
func (l *LRU) Lists(sb *SuperBlock) iter.Seq2[listlru.List, error] {
	head := sb.Addr + l.fs.super.DentryLRU.Offset()
	if l.lists != nil {
		return l.lists.Lists(head)
	}
	return func(yield func(listlru.List, error) bool) {
		yield(listlru.List{Memcg: -1, Head: head, Items: int64(sb.unusedCounter)}, nil)
	}
}

// Dentries yields the addresses of the dentries in one of the lists, in the
// order in which the shrinker does not take them: the newest first where the
// kernel adds at the head (until 3.11), the oldest first since.
func (l *LRU) Dentries(one listlru.List) iter.Seq2[uint64, error] {
	limit := l.fs.maxObjects(l.fs.dentry.Size())
	return func(yield func(uint64, error) bool) {
		for node, err := range list.Circular(l.fs.k, one.Head, limit) {
			if err != nil {
				yield(0, err)
				return
			}
			if !yield(node-l.offset, nil) {
				return
			}
		}
	}
}
