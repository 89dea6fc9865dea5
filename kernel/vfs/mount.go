package vfs

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/list"
)

// mountLayout is struct mount (fs/mount.h, since 3.3), or struct vfsmount before
// that, which had the same members.
type mountLayout struct {
	Parent     kernel.U64
	Mountpoint kernel.U64
	Root       kernel.U64
	Super      kernel.U64
	Namespace  kernel.U64
	DevName    kernel.U64
	Instance   kernel.U64
	List       kernel.U64
	ID         kernel.I32
	Unique     kernel.U64
	Flags      kernel.Uint
	size       int
	embedded   uint64 // offset of the struct vfsmount inside
}

type newMountLayout struct {
	kernel.Layout `kernel:"struct mount"`
	Parent        kernel.U64  `kernel:"mnt_parent"`
	Mountpoint    kernel.U64  `kernel:"mnt_mountpoint"`
	Root          kernel.U64  `kernel:"mnt.mnt_root"`
	Super         kernel.U64  `kernel:"mnt.mnt_sb"`
	Namespace     kernel.U64  `kernel:"mnt_ns"`
	DevName       kernel.U64  `kernel:"mnt_devname"`
	Instance      kernel.U64  `kernel:"mnt_instance.next|mnt_next_for_sb"`
	List          kernel.U64  `kernel:"mnt_list.next,optional"`
	ID            kernel.I32  `kernel:"mnt_id"`
	Unique        kernel.U64  `kernel:"mnt_id_unique,optional"` // since 6.8
	Flags         kernel.Uint `kernel:"mnt.mnt_flags"`
}

type oldMountLayout struct {
	kernel.Layout `kernel:"struct vfsmount"`
	Parent        kernel.U64  `kernel:"mnt_parent"`
	Mountpoint    kernel.U64  `kernel:"mnt_mountpoint"`
	Root          kernel.U64  `kernel:"mnt_root"`
	Super         kernel.U64  `kernel:"mnt_sb"`
	Namespace     kernel.U64  `kernel:"mnt_ns"`
	DevName       kernel.U64  `kernel:"mnt_devname"`
	List          kernel.U64  `kernel:"mnt_list.next"`
	ID            kernel.I32  `kernel:"mnt_id"`
	Flags         kernel.Uint `kernel:"mnt_flags"`
}

func (m *mountLayout) resolve(k *kernel.Kernel) error {
	if k.HasType("struct mount") {
		var l newMountLayout
		if err := k.Resolve(&l); err != nil {
			return err
		}
		t, err := k.Type("struct mount")
		if err != nil {
			return err
		}
		inner, err := t.Field("mnt")
		if err != nil {
			return err
		}
		*m = mountLayout{Parent: l.Parent, Mountpoint: l.Mountpoint, Root: l.Root, Super: l.Super,
			Namespace: l.Namespace, DevName: l.DevName, Instance: l.Instance, List: l.List, ID: l.ID, Unique: l.Unique, Flags: l.Flags,
			size: l.Size(), embedded: uint64(inner.Offset)}
		return nil
	}
	var l oldMountLayout
	if err := k.Resolve(&l); err != nil {
		return err
	}
	*m = mountLayout{Parent: l.Parent, Mountpoint: l.Mountpoint, Root: l.Root, Super: l.Super,
		Namespace: l.Namespace, DevName: l.DevName, List: l.List, ID: l.ID, Flags: l.Flags, size: l.Size()}
	return nil
}

// Mount is one struct mount (fs/mount.h; struct vfsmount of
// include/linux/mount.h before 3.3), decoded. Addresses are kernel virtual
// ones.
type Mount struct {
	Addr       uint64 // of the struct mount, or of the struct vfsmount before 3.3
	ID         int32  // mnt_id, as in /proc/PID/mountinfo
	Parent     uint64 // the mount it is mounted on; its own address for a namespace's root and for internal mounts
	Mountpoint uint64 // the dentry it is mounted on
	Root       uint64 // the dentry that is its root
	Super      uint64 // the super_block
	Namespace  uint64 // mnt_ns; 0 for a mount that was detached
	Device     string // mnt_devname, escaped
	Flags      uint64 // mnt_flags, MNT_*
	Unique     uint64 // mnt_id_unique, since 6.8, in the order of mounting
	Internal   bool   // made by the kernel for itself (kern_mount)
}

// Mounts are all mounts in a dump.
type Mounts struct {
	Coverage kernel.Coverage // of the walk that found them

	fs      *FS
	all     []*Mount
	byAddr  map[uint64]*Mount
	bySuper map[uint64][]*Mount
	on      map[mountpoint]*Mount
	initNS  uint64
}

type mountpoint struct{ mount, dentry uint64 }

// maxMounts bounds how many mounts are kept. fs.mount-max is 100,000 a
// namespace.
const maxMounts = 4 << 20

// Mounts finds all mounts, once, through the super_blocks' s_mounts, or before
// 3.3, where there is none, through the first mount namespace. What could not
// be read is in the result's Coverage.
func (fs *FS) Mounts() *Mounts {
	fs.mountsOnce.Do(func() {
		m := &Mounts{fs: fs, byAddr: make(map[uint64]*Mount), bySuper: make(map[uint64][]*Mount),
			on: make(map[mountpoint]*Mount)}
		m.initNS = fs.initMountNamespace(&m.Coverage)
		if fs.mount.Instance.Has() {
			m.collectBySuper()
		} else {
			m.collectByNamespace()
		}
		fs.mounts = m
	})
	return fs.mounts
}

func (fs *FS) initMountNamespace(c *kernel.Coverage) uint64 {
	addr, err := fs.k.Symbol("init_nsproxy")
	if err == nil {
		var t *kernel.Object
		if t, err = fs.k.ObjectAt("struct nsproxy", addr); err == nil {
			var ns uint64
			if ns, err = t.Field("mnt_ns").Uint(); err == nil {
				return ns
			}
		}
	}
	c.Fail(err)
	return 0
}

func (m *Mounts) collectBySuper() {
	fs := m.fs
	for sb, err := range fs.SuperBlocks() {
		if sb == nil {
			m.Coverage.Fail(err)
			continue
		}
		if fs.mount.Instance.Path() == "mnt_next_for_sb" {
			m.collectChained(sb)
			continue
		}
		head := sb.Addr + fs.super.Mounts.Offset()
		for node, err := range list.Circular(fs.k, head, maxMounts) {
			if err != nil {
				m.Coverage.Fail(fmt.Errorf("s_mounts of super_block %s: %w", sb.ID, err))
				break
			}
			m.add(node - fs.mount.Instance.Offset())
		}
	}
}

// collectChained follows the singly linked s_mounts of kernels since 6.18.
func (m *Mounts) collectChained(sb *SuperBlock) {
	next, err := m.fs.k.Uint64(sb.Addr + m.fs.super.Mounts.Offset())
	for i := 0; err == nil && next != 0 && i < maxMounts; i++ {
		addr := next
		if _, seen := m.byAddr[addr]; seen {
			err = &list.BreakError{Head: sb.Addr, At: addr, Index: i, Reason: "the list goes in a circle"}
			break
		}
		m.add(addr)
		next, err = m.fs.k.Uint64(addr + m.fs.mount.Instance.Offset())
	}
	if err != nil {
		m.Coverage.Fail(fmt.Errorf("s_mounts of super_block %s: %w", sb.ID, err))
	}
}

func (m *Mounts) collectByNamespace() {
	t, err := m.fs.k.Type("struct mnt_namespace")
	if err != nil {
		m.Coverage.Fail(err)
		return
	}
	f, err := t.Field("list")
	if err != nil {
		m.Coverage.Fail(err)
		return
	}
	for node, err := range list.Circular(m.fs.k, m.initNS+uint64(f.Offset), maxMounts) {
		if err != nil {
			m.Coverage.Fail(fmt.Errorf("mounts of the first namespace: %w", err))
			return
		}
		m.add(node - m.fs.mount.List.Offset())
	}
}

func (m *Mounts) add(addr uint64) {
	mount, err := m.fs.Mount(addr)
	if err != nil {
		m.Coverage.Fail(err)
		return
	}
	m.Coverage.Read++
	m.all = append(m.all, mount)
	m.byAddr[addr] = mount
	m.bySuper[mount.Super] = append(m.bySuper[mount.Super], mount)
	if mount.Parent != mount.Addr {
		m.on[mountpoint{mount.Parent, mount.Mountpoint}] = mount
	}
}

// Mount reads the struct mount (struct vfsmount before 3.3) at a kernel virtual
// address. The error wraps a *kernel.ReadError where it cannot be read.
func (fs *FS) Mount(addr uint64) (*Mount, error) {
	l := &fs.mount
	b, err := fs.k.Peek(addr, make([]byte, l.size))
	if err != nil {
		return nil, fmt.Errorf("struct mount at %#x: %w", addr, err)
	}
	mount := &Mount{
		Addr:       addr,
		ID:         l.ID.Get(b),
		Parent:     l.Parent.Get(b),
		Mountpoint: l.Mountpoint.Get(b),
		Root:       l.Root.Get(b),
		Super:      l.Super.Get(b),
		Namespace:  l.Namespace.Get(b),
		Flags:      l.Flags.Get(b),
	}
	if l.Unique.Has() {
		mount.Unique = l.Unique.Get(b)
	}
	// MNT_NS_INTERNAL is an error pointer (fs/mount.h, since 3.4).
	if const4k := uint64(4096); mount.Namespace > -const4k {
		mount.Internal, mount.Namespace = true, 0
	}
	if name, err := fs.k.CString(l.DevName.Get(b), maxLabel); err == nil {
		mount.Device = cstr.Show(name)
	}
	return mount, nil
}

// All are the mounts in the order in which they were found.
func (m *Mounts) All() []*Mount { return m.all }

// Of are the mounts of a super_block.
func (m *Mounts) Of(super uint64) []*Mount { return m.bySuper[super] }

// InitNamespace is the address of the first mount namespace.
func (m *Mounts) InitNamespace() uint64 { return m.initNS }
