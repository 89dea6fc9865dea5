package lock

// With PREEMPT_RT the sleeping locks and most spinlocks are made of an rt_mutex
// (kernel/locking/rtmutex_api.c, rwbase_rt.c, spinlock_rt.c; since 5.15, and in the
// patch set before).

// rtParts are where the rt_mutex lies in the locks that are made of one.
var rtParts = []struct {
	kind  Kind
	names []string
	paths []string
}{
	{Mutex, []string{"struct mutex"}, []string{"rtmutex", "lock"}},
	{RWSem, []string{"struct rw_semaphore"}, []string{"rwbase.rtmutex", "rtmutex"}},
	{Spinlock, []string{"struct spinlock"}, []string{"lock"}},
	{RWLock, []string{"rwlock_t", "struct rwlock"}, []string{"rwbase.rtmutex", "rtmutex"}},
}

// dressed makes of a wait for an rt_mutex one for the lock that is made of it, if the
// function that waits is one of that lock.
func (b *builder) dressed(s *stack, f *found) {
	if f.kind != RTMutex {
		return
	}
	kind, mode, frame := Kind(""), Mode(""), -1
	for i := range s.frames {
		fn := s.frames[i].fn
		if !fn.classed {
			break
		}
		c := fn.class
		if (c.role == roleWait || c.role == roleSpin) && c.kind != RTMutex && c.kind != "" {
			kind, mode, frame = c.kind, c.mode, i
		}
		if c.role == roleWait && f.frame < 0 {
			f.frame = i
		}
	}
	if kind == WWMutex {
		kind = Mutex
	}
	off, ok := b.rtPart(kind)
	if frame < 0 || !ok {
		return
	}
	f.rtBase, f.addr, f.frame = f.addr, f.addr-off, frame
	f.kind, f.mode = s.frames[frame].fn.class.kind, mode
}

// rtPart is where the rt_mutex lies in a lock of a kind.
func (b *builder) rtPart(kind Kind) (uint64, bool) {
	if !b.forms.rt.inMutex {
		return 0, false
	}
	for _, p := range rtParts {
		if p.kind == kind {
			return at(typeOf(b.k, p.names...), p.paths...)
		}
	}
	return 0, false
}
