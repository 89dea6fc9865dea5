package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/list"
)

// lockFileForm is struct file_lock (its part struct file_lock_core since 6.9), and where
// the locks of a file are: in lists of a file_lock_context since 4.0, before in one list
// of the inode.
type lockFileForm struct {
	wait, blocker, owner, pid, file, start, end uint64
	flags, kind                                 ctype.Field
	node                                        uint64 // in a list of the context
	inode, context                              uint64 // of struct file, of struct inode
	flock, posix, lease                         uint64 // of struct file_lock_context
	first                                       uint64 // of struct inode, until 3.19
	ok, inContext, inInode                      bool
	// chained tells that a lock that waits can be in the way of others (since 5.0).
	chained bool
}

func readLockFileForm(k *kernel.Kernel) lockFileForm {
	var f lockFileForm
	l := typeOf(k, "struct file_lock")
	var ok [9]bool
	f.wait, ok[0] = at(l, "c.flc_wait", "fl_wait")
	f.blocker, ok[1] = at(l, "c.flc_blocker", "fl_blocker", "fl_next")
	_, f.chained = at(l, "c.flc_blocker", "fl_blocker")
	f.flags, ok[2] = fieldOf(l, "c.flc_flags", "fl_flags")
	f.kind, ok[3] = fieldOf(l, "c.flc_type", "fl_type")
	f.owner, ok[4] = at(l, "c.flc_owner", "fl_owner")
	f.pid, ok[5] = at(l, "c.flc_pid", "fl_pid")
	f.file, ok[6] = at(l, "c.flc_file", "fl_file")
	f.start, ok[7] = at(l, "fl_start")
	f.end, ok[8] = at(l, "fl_end")
	f.ok = ok == [9]bool{true, true, true, true, true, true, true, true, true}
	f.inode, ok[0] = at(typeOf(k, "struct file"), "f_inode", "f_path.dentry")
	i, c := typeOf(k, "struct inode"), typeOf(k, "struct file_lock_context")
	f.context, ok[1] = at(i, "i_flctx")
	f.flock, ok[2] = at(c, "flc_flock")
	f.posix, ok[3] = at(c, "flc_posix")
	f.lease, ok[4] = at(c, "flc_lease")
	f.node, ok[5] = at(l, "c.flc_list", "fl_list")
	f.inContext = f.ok && ok[0] && ok[1] && ok[2] && ok[3] && ok[4] && ok[5]
	f.first, f.inInode = at(i, "i_flock")
	f.inInode = f.inInode && f.ok && ok[0]
	return f
}

// fieldOf is the first of several members of a type that it has.
func fieldOf(t *ctype.Type, paths ...string) (ctype.Field, bool) {
	if t == nil {
		return ctype.Field{}, false
	}
	for _, p := range paths {
		if f, err := t.Field(p); err == nil && f.Offset >= 0 && f.Type.Size() <= 8 {
			return f, true
		}
	}
	return ctype.Field{}, false
}

// number reads a member of a file_lock that is a number of up to eight bytes.
func (b *builder) number(object uint64, f ctype.Field) (uint64, bool) {
	size := min(max(f.Type.Size(), 1), 8)
	var buf [8]byte
	v, err := b.k.Peek(object+uint64(f.Offset), b.word[:size])
	if err != nil {
		b.fail(fmt.Errorf("struct file_lock at %#x: %w", object, err))
		return 0, false
	}
	copy(buf[:], v)
	return le64(buf[:]), true
}

// Flags and types of struct file_lock (include/linux/filelock.h, before 6.3 fs.h).
const (
	flPOSIX  = 1
	flFlock  = 2
	flDeleg  = 4 // since 3.13
	flLease  = 32
	flOFD    = 1024 // since 3.15
	flLayout = 2048 // since 4.0

	fileLockWrite = 1 // F_WRLCK
)

// maxFileLocks bounds the locks of one file that are looked at.
const maxFileLocks = 1 << 16

// fileLockWait makes of a wait queue in a struct file_lock the lock that is in the
// way of that one.
func (b *builder) fileLockWait(s *stack, f *found) {
	form := &b.readFileForm().locks
	if !form.ok {
		return
	}
	own := f.addr - form.wait
	blocker, ok := b.need64(own+form.blocker, "the file_lock of one that waits")
	if !ok || blocker == 0 || !inKernel(blocker) {
		return
	}
	blocker, whole := b.lastBlocker(form, own, blocker)
	flags, ok := b.number(own, form.flags) // of the same sort as the other's
	if flags&flPOSIX != 0 && flags&(flFlock|flLease|flDeleg|flLayout) != 0 {
		b.fail(fmt.Errorf("struct file_lock at %#x: its flags %#x are those of several sorts", own, flags))
	}
	if !ok {
		return
	}
	f.mode = Read
	if v, ok := b.number(own, form.kind); ok && v == fileLockWrite {
		f.mode = Write
	}
	f.kind, f.addr, f.fileWaiter, f.ring, f.pos = POSIXLock, blocker, own, nil, -1
	switch {
	case flags&flPOSIX != 0: // it is of one sort only; what else is set is damage
	case flags&flFlock != 0:
		f.kind = Flock
	case flags&(flLease|flDeleg|flLayout) != 0:
		f.kind = Lease
	}
	f.method, f.text = ByWaitList, "its file_lock names the one that is in the way"
	if !whole {
		f.sure, f.text = Suspected, "its file_lock comes after this one, which may wait itself, for one that could not be found"
	}
}

// lastBlocker follows file locks that wait for others, since 5.0, to the one that is held
// at the end. whole tells that it came there.
func (b *builder) lastBlocker(form *lockFileForm, own, blocker uint64) (last uint64, whole bool) {
	if !form.chained {
		return blocker, true
	}
	for range 64 {
		next, ok := b.need64(blocker+form.blocker, "a file_lock that others wait for")
		switch {
		case !ok || next != 0 && (!inKernel(next) || next == own):
			return blocker, false
		case next == 0:
			return blocker, true
		}
		blocker = next
	}
	return blocker, false
}

// wishLock has the holder of a file lock looked for: who has its file open, or, for a
// POSIX lock, whose descriptors they are.
func (b *builder) wishLock(form *lockFileForm, q *fileSearch, addr uint64, w fileWish) {
	flags, ok := b.number(addr, form.flags)
	if !ok {
		return
	}
	if flags&(flFlock|flLease|flDeleg|flLayout|flOFD) != 0 {
		if file, ok := b.need64(addr+form.file, "the file of a file_lock"); ok && file != 0 {
			q.files[file] = append(q.files[file], w)
		}
	} else if owner, ok := b.need64(addr+form.owner, "the owner of a file_lock"); ok && owner != 0 {
		q.owners[owner] = append(q.owners[owner], w)
	}
}

// fileLock is what of a struct file_lock says what it is in the way of.
type fileLock struct {
	addr, flags, kind, owner, file, start, end uint64
}

func (b *builder) fileLockAt(form *lockFileForm, addr uint64) (fileLock, bool) {
	l := fileLock{addr: addr}
	var ok [6]bool
	l.flags, ok[0] = b.number(addr, form.flags)
	l.kind, ok[1] = b.number(addr, form.kind)
	l.owner, ok[2] = b.uint64At(addr + form.owner)
	l.file, ok[3] = b.uint64At(addr + form.file)
	l.start, ok[4] = b.uint64At(addr + form.start)
	l.end, ok[5] = b.uint64At(addr + form.end)
	return l, ok == [6]bool{true, true, true, true, true, true}
}

// conflicts tells whether a lock that is held is in the way of one that is wanted, as
// flock_locks_conflict, posix_locks_conflict and leases_conflict in fs/locks.c do.
func (l *fileLock) conflicts(wanted *fileLock) bool {
	if l.kind != fileLockWrite && wanted.kind != fileLockWrite {
		return false
	}
	switch {
	case l.flags&flFlock != 0:
		return wanted.flags&flFlock != 0 && l.file != wanted.file
	case l.flags&(flLease|flDeleg|flLayout) != 0:
		return wanted.flags&(flLease|flDeleg|flLayout) != 0
	}
	return wanted.flags&(flFlock|flLease|flDeleg|flLayout) == 0 && l.owner != wanted.owner &&
		int64(l.end) >= int64(wanted.start) && int64(wanted.end) >= int64(l.start)
}

// otherFileLocks are the locks of the same file, besides one, that are in the way of one
// that waits.
func (b *builder) otherFileLocks(form *lockFileForm, waiter, known uint64) (others []uint64) {
	wanted, ok := b.fileLockAt(form, waiter)
	if waiter == 0 || !ok {
		return nil
	}
	b.fileLocksLike(form, known, func(addr uint64) bool {
		if l, ok := b.fileLockAt(form, addr); ok && addr != known && l.conflicts(&wanted) {
			others = append(others, addr)
		}
		return len(others) < maxFileLocks
	})
	return others
}

// fileLocksLike goes over the locks of the file that one is of, at least over those of
// its sort, until yield says no.
func (b *builder) fileLocksLike(form *lockFileForm, addr uint64, yield func(uint64) bool) {
	l, ok := b.fileLockAt(form, addr)
	if !ok {
		return
	}
	inode, ok := b.need64(l.file+form.inode, "the inode of a locked file")
	if t := typeOf(b.k, "struct file"); !ok || !t.HasField("f_inode") { // before 3.9
		off, has := at(typeOf(b.k, "struct dentry"), "d_inode")
		if inode, ok = b.need64(inode+off, "the inode of a locked file"); !ok || !has {
			return
		}
	}
	if form.inContext {
		context, ok := b.need64(inode+form.context, "the locks of a file")
		if !ok || context == 0 {
			return
		}
		head := context + form.posix
		switch {
		case l.flags&flFlock != 0:
			head = context + form.flock
		case l.flags&(flLease|flDeleg|flLayout) != 0:
			head = context + form.lease
		}
		for node, err := range list.Circular(b.k, head, maxFileLocks) {
			if err != nil {
				b.fail(err)
				return
			}
			if !yield(node - form.node) {
				return
			}
		}
		return
	}
	at, ok := b.need64(inode+form.first, "the locks of a file")
	for n := 0; form.inInode && ok && at != 0 && inKernel(at) && n < maxFileLocks && yield(at); n++ {
		at, ok = b.need64(at+form.blocker, "the locks of a file") // fl_next
	}
}
