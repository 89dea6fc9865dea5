package lock

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel"
)

// bhLock is BH_Lock in buffer_head.b_state (include/linux/buffer_head.h).
const bhLock = 2

// isBuffer tells whether a word whose bit is awaited is that of a buffer_head: the
// functions that say so jump on to those that wait for any bit.
func (b *builder) isBuffer(addr uint64) bool {
	t := typeOf(b.k, "struct buffer_head")
	state, ok1 := at(t, "b_state")
	size, ok2 := at(t, "b_size")
	device, ok3 := at(t, "b_bdev")
	page, ok4 := at(t, "b_page", "b_folio")
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return false
	}
	head := addr - state
	bytes, ok1 := b.uint64At(head + size)
	bdev, ok2 := b.uint64At(head + device)
	of, ok3 := b.uint64At(head + page)
	return ok1 && ok2 && ok3 && bytes >= 512 && bytes <= 1<<16 && bytes&(bytes-1) == 0 && inKernel(bdev) && inKernel(of)
}

// buffer names a buffer's block and disk.
func (n *namer) buffer(l *Lock) {
	if l.Kind != BufferLock {
		return
	}
	t := typeOf(n.b.k, "struct buffer_head")
	state, ok1 := at(t, "b_state")
	block, ok2 := at(t, "b_blocknr")
	device, ok3 := at(t, "b_bdev")
	if !ok1 || !ok2 || !ok3 {
		return
	}
	head := uint64(l.Addr) - state
	number, ok := n.b.need64(head+block, "a buffer_head")
	if !ok {
		return
	}
	if l.Object == nil {
		l.Object = &Object{Addr: kernel.Addr(head), Type: "struct buffer_head", Member: "b_state", By: "kind of the lock"}
	}
	l.Purpose = fmt.Sprintf("block %d", number)
	bdev, ok := n.b.need64(head+device, "a buffer_head")
	if !ok || bdev == 0 {
		return
	}
	l.Purpose += " of " + n.disk(bdev)
}

// disk names a block_device: by a file system on it, or by its number.
func (n *namer) disk(bdev uint64) string {
	if off, ok := at(n.super, "s_bdev"); ok {
		for addr, sb := range n.supers {
			if v, ok := n.b.need64(addr+off, "a super_block"); ok && v == bdev {
				return sb.ID
			}
		}
	}
	if off, ok := at(typeOf(n.b.k, "struct block_device"), "bd_dev"); ok {
		if v, ok := n.b.need32(bdev+off, "a block_device"); ok {
			return fmt.Sprintf("device %d:%d", v>>20, v&(1<<20-1))
		}
	}
	return fmt.Sprintf("the block_device at %#x", bdev)
}

// bucket names the chain of dentry_hashtable whose lock is meant. Another hash table's
// stays an address.
func (n *namer) bucket(l *Lock) {
	if l.Kind != HlistBL || n.b.fs == nil {
		return
	}
	if !n.triedTable {
		n.triedTable = true
		var err error
		n.table, err = n.b.fs.HashTable() // without it, the chain has no name
		n.b.unread("dentry_hashtable", err)
	}
	t := n.table
	if t == nil || uint64(l.Addr) < t.Addr || uint64(l.Addr)-t.Addr >= 8*t.Buckets {
		return
	}
	l.Symbol = fmt.Sprintf("dentry_hashtable[%d]", (uint64(l.Addr)-t.Addr)/8)
	l.Object = nil
}

// pipePath names a pipe by what processes have open of them: the path of a FIFO, or
// the name of an anonymous one.
func (n *namer) pipePath(i int) {
	l := &n.b.snap.Locks[i]
	if l.Kind != Pipe || n.b.extra[i].pipeFile == 0 {
		return
	}
	dentry, ok := n.b.need64(n.b.extra[i].pipeFile+n.b.readFileForm().dentry, "a file of a pipe")
	if !ok {
		return
	}
	path := n.dentryPath(dentry)
	if strings.HasPrefix(path, "pipefs:") { // as /proc/PID/fd has it
		path = n.pipeNumber(dentry)
	}
	if path == "" {
		return
	}
	if l.Object == nil {
		l.Object = &Object{Addr: l.Addr, Type: "struct pipe_inode_info", By: "open files"}
	}
	l.Object.Path = path
}

// pipeNumber is the name of an anonymous pipe.
func (n *namer) pipeNumber(dentry uint64) string {
	inode, ok1 := at(n.dentry, "d_inode")
	ino, ok2 := at(n.inode, "i_ino")
	if !ok1 || !ok2 {
		return ""
	}
	addr, ok := n.b.need64(dentry+inode, "the dentry of a pipe")
	if !ok {
		return ""
	}
	v, ok := n.b.need64(addr+ino, "the inode of a pipe")
	if !ok {
		return ""
	}
	return fmt.Sprintf("pipe:[%d]", v)
}

// seqlock makes of a spinlock that is the one of a seqlock_t, in a variable, a wait of
// a writer for that. The spinlock is what writers take (include/linux/seqlock.h).
func (b *builder) seqlock(f *found) {
	if f.kind != Spinlock {
		return
	}
	sym, off, ok := b.k.SymbolAt(f.addr)
	if !ok || off == 0 {
		return
	}
	t, err := b.k.Info().Variable(sym.Name)
	if err != nil {
		return
	}
	seq, ok1 := at(t, "seqcount.sequence", "seqcount.seqcount.sequence", "sequence")
	spin, ok2 := at(t, "lock")
	if ok1 && ok2 && spin == off {
		f.kind, f.addr, f.mode = Seqlock, f.addr-spin+seq, Write
		f.text += "; it is the spinlock of the seqlock"
	}
}
