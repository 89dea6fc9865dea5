package lock

import "fmt"

// A rw_semaphore or rwlock of PREEMPT_RT is an rt_mutex and a count of readers (struct
// rwbase_rt, kernel/locking/rwbase_rt.c). A writer owns the rt_mutex before it waits for
// the readers to leave. It is on no list then: the last reader wakes the owner.

// The count of readers. It is negative while they may come: READER_BIAS and their
// number.
const (
	readerBias = -1 << 31
	writerBias = 1 << 30 // a writer is inside
)

// realtime finds what a task waits for that is on no rt_mutex's list: a writer waits for
// readers, or the kernel stopped it in a deadlock.
func (b *builder) realtime(s *stack, letter string) []found {
	i := s.innermost(roleWait)
	if len(b.forms.rt.parts) == 0 || i < 0 || letter != "D" && letter != "S" {
		return nil
	}
	if f, ok := b.rwbaseWriter(s, i); ok {
		return []found{f}
	}
	if f, ok := b.rtStopped(s, i); ok {
		return []found{f}
	}
	return nil
}

// rwbaseWriter finds the lock whose readers a writer waits for: its address is in the
// frames of the function that waits, and the rt_mutex in it is owned by the task.
func (b *builder) rwbaseWriter(s *stack, from int) (found, bool) {
	kind, mode, frame := s.rtKind(from)
	part, ok := b.forms.rt.parts[kind]
	if !ok || !part.hasReaders || mode != Write {
		return found{}, false
	}
	f := found{kind: kind, mode: Write, method: ByOwner, sure: Certain, frame: frame, pos: 0}
	// The code keeps the address of the lock, or that of the rt_mutex in it. What lies
	// before another rt_mutex of the task's may look like a count of readers.
	for _, off := range []uint64{0, part.mutex} {
		for at := s.lo; at+8 <= s.rtEnd(frame); at += 8 {
			addr := s.word(at) - off
			n, owner, ok := b.rwbaseAt(addr, part)
			if !ok || owner&^rtOwnerFlags != s.tk.Addr || n <= 0 || n >= writerBias {
				continue
			}
			f.addr, f.rtBase, f.slot, f.value = addr, addr+part.mutex, at, owner
			f.text = fmt.Sprintf("it owns the rt_mutex in the lock and waits for %s to leave", plural(uint64(n), "reader"))
			if off != 0 {
				f.sure = Likely
			}
			return f, true
		}
	}
	return found{}, false
}

// rtEnd is where the frames end that can have the lock's address in them: those up to the
// one that called the function of a frame.
func (s *stack) rtEnd(frame int) uint64 {
	end := s.lo + uint64(len(s.words))
	if i := min(frame+1, len(s.frames)-1); i >= 0 && s.frames[i].cfa != 0 {
		end = min(end, s.frames[i].cfa)
	}
	return end
}

// rwbaseAt reads the count and the owner of what may be a lock with readers.
func (b *builder) rwbaseAt(addr uint64, part rtPart) (readers int32, owner uint64, ok bool) {
	if !inKernel(addr) || addr&7 != 0 {
		return 0, 0, false
	}
	owner, ok1 := b.uint64At(addr + part.mutex + b.forms.rt.owner)
	n, ok2 := b.uint32At(addr + part.readers)
	return int32(n), owner, ok1 && ok2
}

// rwbaseHolder tells who has a rw_semaphore or rwlock of PREEMPT_RT, and how many come
// before those in the rt_mutex's queue.
func (b *builder) rwbaseHolder(i int, owner uint64, part rtPart) (first int) {
	l := &b.snap.Locks[i]
	v, ok := b.uint32At(uint64(l.Addr) + part.readers)
	who, n := owner&^rtOwnerFlags, int32(v)
	switch {
	case !ok:
		l.Broken = "its count of readers cannot be read"
		b.fail(fmt.Errorf("%s at %#x: %s", l.Kind, uint64(l.Addr), l.Broken))
	case n == writerBias:
		l.Held, l.HeldKnown, l.State = true, true, "locked by a writer"
		if who != 0 {
			b.ownedBy(i, who, Write, ByOwner, Certain, owner, "")
		} else {
			l.NoHolder = "nobody owns it"
		}
		return 0
	case n < 0:
		b.readers(i, n-readerBias, "")
	default:
		b.readers(i, n, ", and a writer waits for them to leave")
	}
	if who == 0 {
		return 0
	}
	if t, known := b.index[who]; known && b.extra[i].waiting[t] {
		return 1
	}
	// The owner of the rt_mutex is about to become the writer, or a reader that comes
	// through it: those behind wait for that.
	b.ownedBy(i, who, "", ByOwner, Likely, owner, "it owns the rt_mutex in the lock, and does not have the lock itself yet")
	return 0
}

// readers says how many have the lock together.
func (b *builder) readers(i int, n int32, more string) {
	l := &b.snap.Locks[i]
	l.Held, l.HeldKnown, l.State = n > 0, true, "not locked"
	l.NoHolder = "nobody holds it"
	if n > 0 {
		l.State = "locked by " + plural(uint64(n), "reader") + more
		l.NoHolder = "its readers leave no trace in it"
	}
}

// rtStopped finds what a task waits for that the kernel did not put into the queue, or
// took out of it again, because it would close a circle: it sleeps for ever in
// rt_mutex_handle_deadlock, or in rt_spin_lock where that is the task's own already.
func (b *builder) rtStopped(s *stack, from int) (found, bool) {
	kind, _, frame := s.rtKind(from)
	if c := s.frames[from].fn.class; c.kind == RTMutex && kind == "" {
		kind = RTMutex
	}
	if _, ok := b.forms.rt.parts[kind]; !ok && kind != RTMutex {
		return found{}, false
	}
	f := found{kind: RTMutex, method: ByStack, sure: Likely, frame: from, pos: -1}
	end := s.rtEnd(frame)
	if b.rtLeftWaiter(s, end, &f) || b.rtOwnLock(s, end, &f) {
		b.dressed(s, &f)
		return f, true
	}
	return found{}, false
}

// rtLeftWaiter looks for a waiter that is on no queue any more, and still leads to the
// rt_mutex.
func (b *builder) rtLeftWaiter(s *stack, end uint64, f *found) bool {
	r := &b.forms.rt
	for at := s.lo; at+8 <= end; at += 8 {
		if s.word(at) != s.tk.Addr || !s.holds(at-r.task+r.lock, 8) {
			continue
		}
		addr := s.word(at - r.task + r.lock)
		if owner := b.rtOwnedBy(s, addr); owner != 0 && owner != s.tk.Addr {
			f.addr, f.slot, f.value = addr, at-r.task, addr
			f.text = "the kernel found that this wait closes a circle, and stopped the task for good (rt_mutex_handle_deadlock)"
			return true
		}
	}
	return false
}

// rtOwnLock looks for an rt_mutex that the task has: in a circle of one there is no
// waiter.
func (b *builder) rtOwnLock(s *stack, end uint64, f *found) bool {
	for at := s.lo; at+8 <= end; at += 8 {
		if addr := s.word(at); b.rtOwnedBy(s, addr) == s.tk.Addr {
			f.addr, f.slot, f.value = addr, at, addr
			f.text = "it waits for a lock that it has already"
			return true
		}
	}
	return false
}

// rtOwnedBy is the live task that owns what may be an rt_mutex, 0 if it is none.
func (b *builder) rtOwnedBy(s *stack, addr uint64) uint64 {
	r := &b.forms.rt
	if !inKernel(addr) || addr&7 != 0 || s.holds(addr, 8) {
		return 0
	}
	owner, ok1 := b.uint64At(addr + r.owner)
	root, ok2 := b.uint64At(addr + r.waiters)
	if who := owner &^ rtOwnerFlags; ok1 && ok2 && b.live[who] != nil && (root == 0 || inKernel(root)) {
		return who
	}
	return 0
}
