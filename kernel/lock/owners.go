package lock

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel"
)

// finish reads what the locks themselves say, names them, and looks for holders.
func (b *builder) finish() {
	b.unifyRT()
	for i := 0; i < len(b.snap.Locks); i++ {
		b.owners(i)
		if b.visitAll() != nil { // an owner that was on no list may wait itself
			return
		}
	}
	b.spinLocks()
	b.fileHolders()
	b.lockdepHolds()
	b.name()
	if !b.opt.NoSuspects {
		b.suspects()
	}
	b.sortHolds()
}

// owners reads who holds a lock by its own fields.
func (b *builder) owners(i int) {
	l := &b.snap.Locks[i]
	if base := b.extra[i].rtBase; base != 0 {
		b.rtHolder(i, base)
		return
	}
	switch l.Kind {
	case Mutex, WWMutex, RWSem, Semaphore:
		kind := l.Kind
		if kind == WWMutex {
			kind = Mutex
		}
		if form, ok := b.forms.locks[kind]; ok {
			b.owned(i, &form)
		}
	case RTMutex:
		b.rtHolder(i, uint64(l.Addr))
	case RCU:
		b.rcuHolders(i)
	case Work, Workqueue:
		b.workHolders(i)
	case SRCU:
		b.snap.Locks[i].NoHolder = "readers leave no trace of themselves in it"
	case PercpuRWSem:
		b.percpu(i)
	case Completion, WaitQueue, VarWait, BitLock, FolioLock, Writeback, BufferLock:
		b.ringState(i)
	}
}

// ringState tells of a lock's queue, where nothing but that is in it.
func (b *builder) ringState(i int) {
	l, x := &b.snap.Locks[i], &b.extra[i]
	l.NoHolder = "nothing says who is to end the wait"
	if l.Kind == BitLock || l.Kind == FolioLock || l.Kind == BufferLock {
		l.NoHolder = "a bit does not say who holds it"
	}
	// The queue of a bit is one of a hash table's, and others may share it.
	if x.ring != nil && (l.Kind == Completion || l.Kind == WaitQueue) {
		l.Queue = len(x.ring.nodes)
	}
	if x.ring != nil && x.ring.broken != nil {
		l.Broken = x.ring.broken.Error()
		b.fail(fmt.Errorf("%s at %#x: %w", l.Kind, uint64(l.Addr), x.ring.broken))
	}
	b.bitState(i)
}

// bitState reads the bit of a lock that is one.
func (b *builder) bitState(i int) {
	l := &b.snap.Locks[i]
	addr, bit := uint64(l.Addr), l.Bit
	switch l.Kind {
	case BitLock:
	case BufferLock:
		bit = 2 // BH_Lock (include/linux/buffer_head.h)
	case FolioLock:
		bit = 0 // PG_locked; flags are the first member of struct page
	default:
		return
	}
	if v, ok := b.uint64At(addr + uint64(bit/64*8)); ok {
		l.Held, l.HeldKnown = v>>(bit%64)&1 != 0, true
		l.State = "the bit is not set"
		if l.Held {
			l.State = "the bit is set"
		}
	}
}

// owned reads a lock with a list.
func (b *builder) owned(i int, form *lockForm) {
	addr := uint64(b.snap.Locks[i].Addr)
	x := &b.extra[i]
	if x.ring != nil {
		b.snap.Locks[i].Queue = len(x.ring.nodes)
		if x.ring.broken != nil {
			b.snap.Locks[i].Broken = x.ring.broken.Error()
			b.fail(fmt.Errorf("%s at %#x: %w", b.snap.Locks[i].Kind, addr, x.ring.broken))
		}
	}
	var count uint64
	countOK := false
	if form.hasCount {
		count, countOK = b.uint64At(addr + form.count)
	}
	if form.hasOwner {
		owner, ok := b.uint64At(addr + form.owner)
		if !ok {
			b.snap.Locks[i].Broken = "its owner cannot be read"
			b.fail(fmt.Errorf("%s at %#x: its owner cannot be read", b.snap.Locks[i].Kind, addr))
			return
		}
		b.snap.Coverage.Read++
		if form.kind == RWSem {
			b.rwsemOwner(i, form, owner, count, countOK)
			return
		}
		b.mutexOwner(i, form, owner, count)
		return
	}
	switch form.kind {
	case Semaphore:
		b.semaphore(i, form, uint32(count), countOK)
	case RWSem:
		b.rwsemOwner(i, form, 0, count, countOK)
	}
}

// mutexOwner: until 4.9 the owner is a plain pointer and the count tells whether
// it is held.
func (b *builder) mutexOwner(i int, form *lockForm, owner, count uint64) {
	l := &b.snap.Locks[i]
	who := owner &^ form.ownerFlags
	if form.hasCount {
		l.Held, l.HeldKnown = int32(count) < 1, true
		l.State = fmt.Sprintf("count %d", int32(count))
	} else {
		l.Held, l.HeldKnown = who != 0, true
	}
	if who == 0 {
		l.NoHolder = "nobody owns it"
		if l.Held {
			l.NoHolder = "it is held, and its owner was not written yet"
		}
		return
	}
	value := owner
	if form.ownerInfo {
		task, ok := b.threadInfoTask(who)
		if !ok {
			l.NoHolder = fmt.Sprintf("its owner, the thread_info at %#x, cannot be read", who)
			l.Broken = l.NoHolder
			b.fail(fmt.Errorf("%s at %#x: %s", l.Kind, uint64(l.Addr), l.NoHolder))
			return
		}
		who = task
	}
	b.ownedBy(i, who, "", ByOwner, Certain, value, "")
}

// threadInfoTask is the task of a thread_info at the base of a stack.
func (b *builder) threadInfoTask(info uint64) (uint64, bool) {
	t := typeOf(b.k, "struct thread_info")
	off, ok := at(t, "task")
	if !ok {
		return 0, false
	}
	return b.uint64At(info + off)
}

// ownedBy adds a hold by an owner's address.
func (b *builder) ownedBy(i int, who uint64, mode Mode, method Method, sure Confidence, value uint64, text string) {
	h := Hold{Lock: i, Mode: mode, Method: method, Sure: sure, Evidence: []Evidence{{Value: kernel.Addr(value), Text: text}}}
	switch tk := b.liveTask(who); {
	case tk == nil:
		h.Task = b.gone(who, nil)
	case b.younger(tk, b.extra[i].first):
		h.Task = b.gone(who, tk)
		if h.Sure == Certain {
			h.Sure = Likely
		}
	default:
		if !b.listed(tk) && h.Sure == Certain {
			h.Sure = Likely
			h.Evidence = append(h.Evidence, Evidence{Text: "the tasks could not be listed whole; what lies there looks like a task that has not exited"})
		}
		h.Task = b.task(tk)
	}
	b.hold(h)
}

// The bits of rw_semaphore.count since 5.3 (kernel/locking/rwsem.c).
const (
	rwsemWriter     = 1
	rwsemReaderBias = 8 // shift
)

// rwsemOwner reads a rw_semaphore's count and owner. A writer is its owner; of
// readers only the last one that came is known, which may have gone.
func (b *builder) rwsemOwner(i int, form *lockForm, owner, count uint64, countOK bool) {
	l := &b.snap.Locks[i]
	writer, readers := false, uint64(0)
	if countOK {
		if form.oldCount {
			writer, readers = oldRWSem(count, l.Queue > 0)
		} else {
			writer, readers = count&rwsemWriter != 0, count&^(1<<63)>>rwsemReaderBias
		}
		l.Held, l.HeldKnown = writer || readers > 0, true
		switch {
		case writer:
			l.State = "locked by a writer"
		case readers > 0:
			l.State = "locked by " + plural(readers, "reader")
		default:
			l.State = "not locked"
		}
	}
	who := owner &^ form.ownerFlags
	reader := owner&1 != 0
	switch {
	case form.hasOwner && who != 0 && !reader && (!countOK || writer):
		b.ownedBy(i, who, Write, ByOwner, Certain, owner, "")
	case form.hasOwner && who != 0 && reader && (!countOK || readers > 0):
		b.ownedBy(i, who, Read, ByReader, Hint, owner, "the last reader that came; it may have left, and there may be others")
	case l.HeldKnown && !l.Held:
		l.NoHolder = "nobody holds it"
	default:
		l.NoHolder = "its holders leave no trace in it"
	}
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, strings.ReplaceAll(what, " or ", "s or "))
}

// oldRWSem reads the count of a rw_semaphore before 5.3: active lockers in the
// lower half; a writer takes one from the upper half, and the first waiter one
// more.
func oldRWSem(count uint64, waiters bool) (writer bool, readers uint64) {
	active, high := uint32(count), int32(count>>32)
	if active == 0 {
		return false, 0
	}
	if waiters {
		high++
	}
	if high < 0 && active >= 1 {
		return true, 0
	}
	return false, uint64(active)
}

func (b *builder) semaphore(i int, form *lockForm, count uint32, ok bool) {
	l := &b.snap.Locks[i]
	l.NoHolder = "its holders leave no trace in it"
	if !ok {
		return
	}
	l.Held, l.HeldKnown = count == 0, true
	l.State = fmt.Sprintf("count %d", count)
	if !form.hasLast {
		return
	}
	if who, ok := b.uint64At(uint64(l.Addr) + form.lastHolder); ok && who != 0 && b.live[who] != nil {
		l.NoHolder = ""
		b.ownedBy(i, who, "", ByReader, Hint, who, "the last task that took it; it may have given it back")
	}
}
