package vfs

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// inodeLayout is struct inode (include/linux/fs.h).
type inodeLayout struct {
	kernel.Layout `kernel:"struct inode"`
	Mode          kernel.Uint `kernel:"i_mode"`
	Number        kernel.U64  `kernel:"i_ino"`
	Links         kernel.U32  `kernel:"i_nlink|__i_nlink"`
	Count         kernel.I32  `kernel:"i_count.counter"`
	Bytes         kernel.U64  `kernel:"i_size"`
	State         kernel.Uint `kernel:"i_state"`
	Super         kernel.U64  `kernel:"i_sb"`
}

// Inode is one struct inode (include/linux/fs.h), decoded.
type Inode struct {
	Addr   uint64 // virtual address
	Mode   uint32 // i_mode: type and permissions as in stat(2)
	Number uint64 // i_ino
	Links  uint32 // i_nlink
	Count  int32  // references
	Bytes  int64  // i_size, in bytes
	State  uint64 // i_state, bits of the kernel's I_*
	Super  uint64 // i_sb
}

// Inode reads the inode at a kernel virtual address. The error wraps a
// *kernel.ReadError where it cannot be read.
func (fs *FS) Inode(addr uint64) (*Inode, error) {
	l := &fs.inode
	b, err := fs.k.Peek(addr, make([]byte, l.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct inode at %#x: %w", addr, err)
	}
	return &Inode{
		Addr:   addr,
		Mode:   uint32(l.Mode.Get(b)),
		Number: l.Number.Get(b),
		Links:  l.Links.Get(b),
		Count:  l.Count.Get(b),
		Bytes:  int64(l.Bytes.Get(b)),
		State:  l.State.Get(b),
		Super:  l.Super.Get(b),
	}, nil
}

// modeType is the part of i_mode that has the type of the file (stat(2), inode(7)).
const modeType = 0o170000

// Type names the file's type as ls and stat do.
func (i *Inode) Type() string {
	switch i.Mode & modeType {
	case 0o010000:
		return "fifo"
	case 0o020000:
		return "character device"
	case 0o040000:
		return "directory"
	case 0o060000:
		return "block device"
	case 0o100000:
		return "regular file"
	case 0o120000:
		return "symbolic link"
	case 0o140000:
		return "socket"
	}
	return fmt.Sprintf("mode %#o", i.Mode)
}
