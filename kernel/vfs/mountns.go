package vfs

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/kernel/list"
)

// mountCursor marks what is no mount but the place where a reader of
// /proc/PID/mounts was (MNT_CURSOR, 5.8 to 6.7).
const mountCursor = 0x10000000

// MountsIn are the mounts of the mount namespace at a kernel virtual address, in
// the order of /proc/PID/mounts: that of mnt_namespace.list until 6.7, and that of
// mounting since, when a tree took its place. What was read comes with the error.
func (fs *FS) MountsIn(namespace uint64) ([]*Mount, error) {
	t, err := fs.k.Type("struct mnt_namespace")
	if err != nil {
		return nil, err
	}
	if f, err := t.Field("list"); err == nil && fs.mount.List.Has() {
		return fs.mountList(namespace + uint64(f.Offset))
	}
	var found []*Mount
	all := fs.Mounts()
	for _, m := range all.All() {
		if m.Namespace == namespace && !m.Internal {
			found = append(found, m)
		}
	}
	slices.SortStableFunc(found, func(a, b *Mount) int {
		return cmp.Or(cmp.Compare(a.Unique, b.Unique), cmp.Compare(a.ID, b.ID))
	})
	if c := &all.Coverage; c.Unread() > 0 {
		return found, fmt.Errorf("%d mounts could not be read", c.Unread())
	}
	return found, nil
}

// AllMounts tells whether Mounts knows those of all namespaces: where super_blocks
// know their mounts, since 3.3.
func (fs *FS) AllMounts() bool { return fs.mount.Instance.Has() }

// mountList reads the mounts on the list of a namespace.
func (fs *FS) mountList(head uint64) (found []*Mount, err error) {
	for node, walkErr := range list.Circular(fs.k, head, maxMounts) {
		if walkErr != nil {
			return found, fmt.Errorf("list of a mount namespace: %w", walkErr)
		}
		m, mountErr := fs.Mount(node - fs.mount.List.Offset())
		switch {
		case mountErr != nil:
			err = cmp.Or(err, mountErr)
		case m.Flags&mountCursor == 0:
			found = append(found, m)
		}
	}
	return found, err
}

// mountOptions are the flags of a mount that /proc/PID/mounts shows, in its order
// (show_mnt_opts in fs/proc_namespace.c; MNT_* in include/linux/mount.h).
var mountOptions = []struct {
	bit  uint64
	name string
}{{0x01, "nosuid"}, {0x02, "nodev"}, {0x04, "noexec"}, {0x08, "noatime"}, {0x10, "nodiratime"}, {0x20, "relatime"}, {0x80, "nosymfollow"}}

const mountReadOnly = 0x40 // MNT_READONLY

// Options are the options of the mount, as in /proc/PID/mountinfo before the dash:
// "rw" or "ro", and others.
func (m *Mount) Options() []string {
	options := []string{"rw"}
	if m.Flags&mountReadOnly != 0 {
		options[0] = "ro"
	}
	for _, o := range mountOptions {
		if m.Flags&o.bit != 0 {
			options = append(options, o.name)
		}
	}
	return options
}

// superOptions are the flags of a super_block that are shown (show_sb_opts; SB_* in
// include/linux/fs.h).
var superOptions = []struct {
	bit  uint64
	name string
}{{16, "sync"}, {128, "dirsync"}, {64, "mand"}, {1 << 25, "lazytime"}}

// Options are the options of the super_block that all file systems have, as at the
// end of a line of /proc/PID/mountinfo: "rw" or "ro", and others. Those of its type
// alone only its own code can tell.
func (s *SuperBlock) Options() []string {
	options := []string{"rw"}
	if s.Flags&1 != 0 {
		options[0] = "ro"
	}
	for _, o := range superOptions {
		if s.Flags&o.bit != 0 {
			options = append(options, o.name)
		}
	}
	return options
}
