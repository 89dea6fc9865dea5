// Package sysctl follows a dentry of /proc/sys to the table that registered
// it: struct proc_inode (fs/proc/internal.h, before 3.10
// include/linux/proc_fs.h) → struct ctl_table_header → struct ctl_table_set
// (include/linux/sysctl.h).
package sysctl

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/vfs"
)

// Reader knows the layout of the kernel's sysctl tables.
type Reader struct {
	k         *kernel.Kernel
	inode     procInodeLayout
	header    headerLayout
	dentryOps uint64 // proc_sys_dentry_operations
	netRoot   uint64 // net_sysctl_root
}

type procInodeLayout struct {
	kernel.Layout `kernel:"struct proc_inode"`
	Sysctl        kernel.U64    `kernel:"sysctl"`
	Inode         kernel.Offset `kernel:"vfs_inode"`
}

type headerLayout struct {
	kernel.Layout `kernel:"struct ctl_table_header"`
	Unregistering kernel.U64 `kernel:"unregistering"`
	Root          kernel.U64 `kernel:"root"`
	Set           kernel.U64 `kernel:"set"`
}

// New resolves the layouts. A kernel without CONFIG_SYSCTL or CONFIG_NET has
// none of it: the error then wraps kernel.ErrNotFound.
func New(k *kernel.Kernel) (*Reader, error) {
	r := &Reader{k: k}
	for _, l := range []any{&r.inode, &r.header} {
		if err := k.Resolve(l); err != nil {
			return nil, err
		}
	}
	var err error
	if r.dentryOps, err = k.Symbol("proc_sys_dentry_operations"); err != nil {
		return nil, err
	}
	r.netRoot, err = k.Symbol("net_sysctl_root")
	return r, err
}

// Owns tells whether a dentry belongs to /proc/sys, where a lookup compares not
// only names but also whose the entry is (proc_sys_compare).
func (r *Reader) Owns(d *vfs.Dentry) bool { return d.Op == r.dentryOps }

// Header is one struct ctl_table_header: a registered table or directory.
type Header struct {
	Addr uint64 // virtual address
	Root uint64 // the ctl_table_root it was registered under
	Set  uint64 // the ctl_table_set that owns it
	// Unregistering is set once its owner has begun to take the table away.
	// From then on Set points into memory that may have been freed and used
	// again: it says nothing about who the owner was.
	Unregistering bool
	// Net tells whether the table belongs to a network namespace.
	Net bool
}

// Header returns what registered the /proc/sys entry with the inode at a
// kernel virtual address. It returns nil without an error for an inode that
// has no table, as the one of /proc/sys itself may.
func (r *Reader) Header(inode uint64) (*Header, error) {
	at := inode - r.inode.Inode.Offset()
	b, err := r.k.Peek(at, make([]byte, r.inode.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct proc_inode at %#x: %w", at, err)
	}
	addr := r.inode.Sysctl.Get(b)
	if addr == 0 {
		return nil, nil
	}
	if b, err = r.k.Peek(addr, make([]byte, r.header.Span())); err != nil {
		return nil, fmt.Errorf("struct ctl_table_header at %#x: %w", addr, err)
	}
	h := &Header{
		Addr:          addr,
		Root:          r.header.Root.Get(b),
		Set:           r.header.Set.Get(b),
		Unregistering: r.header.Unregistering.Get(b) != 0,
	}
	h.Net = h.Root == r.netRoot
	return h, nil
}

// Seen tells whether a process of the network namespace whose ctl_table_set is
// at a kernel virtual address would be given the dentry by a lookup: the entry
// is not being unregistered, and is that namespace's own or everybody's. It
// answers what is_seen answers in the kernel. Errors are those of Header.
func (r *Reader) Seen(d *vfs.Dentry, set uint64) (bool, error) {
	if !r.Owns(d) || d.Negative() {
		return true, nil
	}
	h, err := r.Header(d.Inode)
	if err != nil || h == nil {
		return err == nil, err
	}
	return !h.Unregistering && (!h.Net || h.Set == set), nil
}
