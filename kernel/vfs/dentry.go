package vfs

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
)

// dentryLayout is struct dentry (include/linux/dcache.h). What changed:
//   - d_hash is a struct hlist_node before 2.6.38 and a struct hlist_bl_node since.
//   - d_count is an atomic_t before 2.6.38, a number until 3.11, and part of
//     d_lockref since 3.12 (and in RHEL 7).
//   - the link among the parent's children is d_u.d_child before 3.19, d_child
//     until 6.7 and d_sib since 6.8; the parent's end of it is the list
//     d_subdirs until 6.7 and the hlist d_children since 6.8.
//   - the space for short names is d_iname until 6.14 and d_shortname since.
type dentryLayout struct {
	kernel.Layout `kernel:"struct dentry"`
	Flags         kernel.U32   `kernel:"d_flags"`
	Next          kernel.U64   `kernel:"d_hash.next"`
	Pprev         kernel.U64   `kernel:"d_hash.pprev"`
	Parent        kernel.U64   `kernel:"d_parent"`
	NameHash      kernel.U32   `kernel:"d_name.hash"`
	NameLen       kernel.U32   `kernel:"d_name.len"`
	NamePtr       kernel.U64   `kernel:"d_name.name"`
	Inode         kernel.U64   `kernel:"d_inode"`
	Super         kernel.U64   `kernel:"d_sb"`
	Op            kernel.U64   `kernel:"d_op"`
	Count         kernel.I32   `kernel:"d_lockref.count|d_count.counter|d_count"`
	LRUNext       kernel.U64   `kernel:"d_lru.next"`
	ShortName     kernel.Bytes `kernel:"d_iname|d_shortname"`
	Sibling       kernel.U64   `kernel:"d_sib.next|d_child.next|d_u.d_child.next"`
	Children      kernel.U64   `kernel:"d_children.first|d_subdirs.next"`
	Alias         kernel.U64   `kernel:"d_u.d_alias.next|d_alias.next,optional"`
}

// childrenAreHlist tells the two forms of the list of children apart.
func (l *dentryLayout) childrenAreHlist() bool { return l.Children.Path() == "d_children.first" }

// Dentry is one struct dentry (include/linux/dcache.h), decoded. Addresses are
// kernel virtual ones.
type Dentry struct {
	Addr   uint64
	Flags  uint32 // d_flags; see FS.FlagNames
	Count  int32  // references; negative while it is being killed
	Hash   uint32 // d_name.hash
	Len    uint32 // d_name.len in bytes
	Name   uint64 // d_name.name, the address of the name's bytes
	Parent uint64 // d_parent; its own address for a root
	Inode  uint64 // d_inode, 0 for a negative dentry
	Super  uint64 // d_sb
	Op     uint64 // d_op

	next, pprev uint64
	raw         []byte // the whole object
}

// Negative tells whether the dentry stands for a name that does not exist.
func (d *Dentry) Negative() bool { return d.Inode == 0 }

// Root tells whether the dentry is the root of its tree.
func (d *Dentry) Root() bool { return d.Parent == d.Addr }

// Hashed tells whether the dentry is in a hash chain, by d_hash.pprev. A kernel
// before 2.6.38 marks it by a flag as well and leaves the pointer as it was.
func (fs *FS) Hashed(d *Dentry) bool {
	return d.pprev != 0 && (fs.known.unhashed == 0 || d.Flags&fs.known.unhashed == 0)
}

// OnLRU tells whether the dentry is on its super_block's list of unused
// dentries, by the flag DCACHE_LRU_LIST (since 3.12) or else by its list node.
func (fs *FS) OnLRU(d *Dentry) bool {
	if fs.known.lruList != 0 {
		return d.Flags&fs.known.lruList != 0 && d.Flags&fs.known.shrinkList == 0
	}
	node := d.Addr + fs.dentry.LRUNext.Offset()
	next := fs.dentry.LRUNext.Get(d.raw)
	return next != 0 && next != node && d.Flags&fs.known.shrinkList == 0
}

// Referenced tells whether the dentry was used since it came on the LRU.
func (fs *FS) Referenced(d *Dentry) bool { return d.Flags&fs.known.referenced != 0 }

// decode fills d from the bytes of a whole object.
func (l *dentryLayout) decode(d *Dentry, addr uint64, b []byte) {
	d.Addr = addr
	d.Flags = l.Flags.Get(b)
	d.Count = l.Count.Get(b)
	d.Hash = l.NameHash.Get(b)
	d.Len = l.NameLen.Get(b)
	d.Name = l.NamePtr.Get(b)
	d.Parent = l.Parent.Get(b)
	d.Inode = l.Inode.Get(b)
	d.Super = l.Super.Get(b)
	d.Op = l.Op.Get(b)
	d.next = l.Next.Get(b)
	d.pprev = l.Pprev.Get(b)
	d.raw = b
}

// Dentry reads the dentry at a kernel virtual address. The error wraps a
// *kernel.ReadError where it cannot be read.
func (fs *FS) Dentry(addr uint64) (*Dentry, error) {
	b, err := fs.k.Peek(addr, make([]byte, fs.dentry.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct dentry at %#x: %w", addr, err)
	}
	d := new(Dentry)
	fs.dentry.decode(d, addr, b)
	return d, nil
}

// maxName bounds the length of one name. NAME_MAX is 255 bytes; file systems
// that have longer ones do not exist, damaged dentries do.
const maxName = 4096

// RawName returns the bytes of the dentry's name. The result may be a view of
// the dump. It fails for a length that no name has, and where the name cannot
// be read, with an error that wraps a *kernel.ReadError.
func (fs *FS) RawName(d *Dentry) ([]byte, error) {
	if d.Len > maxName {
		return nil, fmt.Errorf("struct dentry at %#x: a name of %d bytes cannot be", d.Addr, d.Len)
	}
	if start := d.Name - (d.Addr + fs.dentry.ShortName.Offset()); start == 0 {
		if short := fs.dentry.ShortName.Get(d.raw); int(d.Len) <= len(short) {
			return short[:d.Len], nil
		}
	}
	b, err := fs.k.Peek(d.Name, make([]byte, d.Len))
	if err != nil {
		return nil, fmt.Errorf("name of struct dentry at %#x: %w", d.Addr, err)
	}
	return b, nil
}

// NameOf returns the dentry's name, escaped to be shown. It fails as RawName
// does.
func (fs *FS) NameOf(d *Dentry) (string, error) {
	b, err := fs.RawName(d)
	if err != nil {
		return "", err
	}
	return cstr.Show(b), nil
}
