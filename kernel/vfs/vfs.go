// Package vfs reads the virtual file system's structures: super_blocks,
// mounts, dentries and their hash table, and the lists of unused dentries.
package vfs

import (
	"fmt"
	"sync"

	"github.com/kmortem/mortem/kernel"
)

// FS is the virtual file system of the kernel in a dump. It is safe for use by
// many goroutines.
type FS struct {
	k      *kernel.Kernel
	dentry dentryLayout
	inode  inodeLayout
	super  superLayout
	fstype fsTypeLayout
	mount  mountLayout
	flags  []flagName
	known  dentryFlags

	mountsOnce sync.Once
	mounts     *Mounts
}

// Open resolves the layouts of the kernel's file system structures. These are
// struct dentry (include/linux/dcache.h), inode, super_block and
// file_system_type (include/linux/fs.h) and mount (fs/mount.h; struct vfsmount
// before 3.3). The error wraps kernel.ErrNotFound where the kernel lacks one of
// them or a member that all releases have.
func Open(k *kernel.Kernel) (*FS, error) {
	fs := &FS{k: k}
	for _, l := range []any{&fs.dentry, &fs.inode, &fs.super, &fs.fstype} {
		if err := k.Resolve(l); err != nil {
			return nil, fmt.Errorf("file system structures: %w", err)
		}
	}
	if err := fs.mount.resolve(k); err != nil {
		return nil, fmt.Errorf("file system structures: %w", err)
	}
	fs.resolveFlags()
	return fs, nil
}

// Kernel is the kernel that the file system belongs to.
func (fs *FS) Kernel() *kernel.Kernel { return fs.k }

// maxObjects is how many objects of a size there can be in the dump's memory:
// the bound of every walk over such objects.
func (fs *FS) maxObjects(size int) int {
	return int(fs.k.Image().Facts().MaxPhys/uint64(size)) + 1
}
