package vfs

import (
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/list"
)

// superLayout is struct super_block (include/linux/fs.h, since 6.18
// include/linux/fs/super_types.h). What changed: s_dentry_lru is a plain list
// counted by s_nr_dentry_unused until 3.11 and in RHEL 7, and a struct list_lru
// since 3.12; s_mounts exists since 3.3 and is a single pointer since 6.18;
// s_count became the refcount_t s_passive in 7.x.
type superLayout struct {
	kernel.Layout `kernel:"struct super_block"`
	List          kernel.U64    `kernel:"s_list.next"`
	ID            kernel.Bytes  `kernel:"s_id"`
	Type          kernel.U64    `kernel:"s_type"`
	Root          kernel.U64    `kernel:"s_root"`
	Dev           kernel.U32    `kernel:"s_dev"`
	Count         kernel.I32    `kernel:"s_count|s_passive.refs.counter"`
	Active        kernel.I32    `kernel:"s_active.counter"`
	Flags         kernel.Uint   `kernel:"s_flags"`
	Inodes        kernel.U64    `kernel:"s_inodes.next"`
	DentryLRU     kernel.Offset `kernel:"s_dentry_lru"`
	NrUnused      kernel.Uint   `kernel:"s_nr_dentry_unused,optional"`
	Mounts        kernel.U64    `kernel:"s_mounts.next|s_mounts,optional"`
	Frozen        kernel.Uint   `kernel:"s_writers.frozen|s_frozen,optional"`
}

// fsTypeLayout is struct file_system_type.
type fsTypeLayout struct {
	kernel.Layout `kernel:"struct file_system_type"`
	Name          kernel.U64 `kernel:"name"`
}

// SuperBlock is one struct super_block (include/linux/fs.h), decoded. Addresses
// are kernel virtual ones.
type SuperBlock struct {
	Addr   uint64 // virtual address
	ID     string // s_id: a device name or the file system's own, escaped
	Type   string // the file system type's name, escaped
	Root   uint64 // s_root, the address of the root dentry; 0 while it is being set up
	Dev    uint32 // s_dev as the kernel has it: major << 20 | minor
	Count  int32  // s_count, s_passive
	Active int32  // s_active
	Flags  uint64 // s_flags
	Frozen uint64 // s_writers.frozen: 0 is not frozen; 4 is frozen (SB_FREEZE_COMPLETE)

	unusedCounter uint64 // s_nr_dentry_unused where there is one
}

// Major is the device's major number.
func (s *SuperBlock) Major() uint32 { return s.Dev >> 20 }

// Minor is the device's minor number.
func (s *SuperBlock) Minor() uint32 { return s.Dev & (1<<20 - 1) }

// maxLabel bounds the length of names of file system types and devices.
const maxLabel = 256

// SuperBlocks yields all super_blocks, in the order of the list super_blocks. An
// error is that of one super_block, or the end of a broken list.
func (fs *FS) SuperBlocks() iter.Seq2[*SuperBlock, error] {
	return func(yield func(*SuperBlock, error) bool) {
		head, err := fs.k.Symbol("super_blocks")
		if err != nil {
			yield(nil, err)
			return
		}
		for node, err := range list.Circular(fs.k, head, fs.maxObjects(fs.super.Size())) {
			if err != nil {
				yield(nil, fmt.Errorf("super_blocks: %w", err))
				return
			}
			sb, err := fs.SuperBlock(node - fs.super.List.Offset())
			if !yield(sb, err) {
				return
			}
		}
	}
}

// SuperBlock reads the super_block at a kernel virtual address. The error wraps
// a *kernel.ReadError where it cannot be read.
func (fs *FS) SuperBlock(addr uint64) (*SuperBlock, error) {
	l := &fs.super
	b, err := fs.k.Peek(addr, make([]byte, l.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct super_block at %#x: %w", addr, err)
	}
	sb := &SuperBlock{
		Addr:   addr,
		ID:     cstr.ShowC(l.ID.Get(b)),
		Root:   l.Root.Get(b),
		Dev:    l.Dev.Get(b),
		Count:  l.Count.Get(b),
		Active: l.Active.Get(b),
		Flags:  l.Flags.Get(b),
	}
	if l.Frozen.Has() {
		sb.Frozen = l.Frozen.Get(b)
	}
	if l.NrUnused.Has() {
		sb.unusedCounter = l.NrUnused.Get(b)
	}
	if sb.Type, err = fs.typeName(l.Type.Get(b)); err != nil {
		return sb, fmt.Errorf("struct super_block at %#x: its s_type: %w", addr, err)
	}
	return sb, nil
}

func (fs *FS) typeName(fstype uint64) (string, error) {
	name, err := fs.k.Uint64(fstype + fs.fstype.Name.Offset())
	if err != nil {
		return "", err
	}
	b, err := fs.k.CString(name, maxLabel)
	return cstr.Show(b), err
}

// Inodes yields the addresses of a super_block's inodes (s_inodes).
func (fs *FS) Inodes(sb *SuperBlock) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		t, err := fs.k.Type("struct inode")
		if err != nil {
			yield(0, err)
			return
		}
		link, err := t.Field("i_sb_list.next")
		if err != nil {
			yield(0, err)
			return
		}
		head := sb.Addr + fs.super.Inodes.Offset()
		for node, err := range list.Circular(fs.k, head, fs.maxObjects(fs.inode.Size())) {
			if !yield(node-uint64(link.Offset), err) {
				return
			}
		}
	}
}
