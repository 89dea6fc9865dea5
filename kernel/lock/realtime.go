package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/list"
	"github.com/kmortem/mortem/kernel/rbtree"
	"github.com/kmortem/mortem/kernel/unwind"
)

// With PREEMPT_RT the sleeping locks and most spinlocks are made of an rt_mutex
// (kernel/locking/rtmutex_api.c, rwbase_rt.c, spinlock_rt.c, ww_rt_mutex.c; since 5.15,
// and in the patch set before).

// rtPart is where the rt_mutex lies in a lock that is made of one, and the count of
// readers beside it in those that have readers (struct rwbase_rt).
type rtPart struct {
	mutex, readers uint64
	hasReaders     bool
}

// rtKinds are the locks that are made of an rt_mutex, with what it is called in them:
// since 5.15 and, behind that, in the patch set from 4.13 on and before.
var rtKinds = []struct {
	kind  Kind
	names []string
	paths []string
}{
	{Mutex, []string{"struct mutex"}, []string{"rtmutex", "lock"}},
	{WWMutex, []string{"struct ww_mutex"}, []string{"base.rtmutex", "base.lock"}},
	{RWSem, []string{"struct rw_semaphore"}, []string{"rwbase.rtmutex", "rtmutex", "lock"}},
	{Spinlock, []string{"struct spinlock"}, []string{"lock"}},
	{RWLock, []string{"rwlock_t", "struct rt_rw_lock"}, []string{"rwbase.rtmutex", "rtmutex", "lock"}},
}

func (r *rtForm) readParts(k *kernel.Kernel) {
	r.parts = map[Kind]rtPart{}
	if !r.inMutex {
		return
	}
	for _, p := range rtKinds {
		t := typeOf(k, p.names...)
		var part rtPart
		var ok bool
		if part.mutex, ok = at(t, p.paths...); ok {
			part.readers, part.hasReaders = readersOf(t)
			r.parts[p.kind] = part
		}
	}
}

func readersOf(t *ctype.Type) (uint64, bool) {
	return at(t, "rwbase.readers", "readers")
}

func init() {
	enter(class{role: roleSched}, "rt_mutex_schedule", "schedule_rtlock", "preempt_schedule_lock")
	enter(class{role: roleWait, kind: RTMutex}, "rt_mutex_slowlock", "rt_mutex_slowlock_block", "__rt_mutex_slowlock",
		"__rt_mutex_slowlock_locked", "rt_mutex_slowlock_locked", "rt_mutex_lock", "rt_mutex_lock_nested", "rt_mutex_lock_interruptible",
		"rt_mutex_lock_killable", "rt_mutex_wait_proxy_lock", "rtlock_slowlock_locked", "rt_spin_lock_slowlock", "rt_spin_lock_slowlock_locked",
		"rtlock_slowlock", "rwbase_rtmutex_lock_state", "__rt_mutex_lock", "__rt_mutex_lock_state", "__rt_mutex_lock_common", "rt_mutex_lock_state",
		"rt_mutex_timed_lock", "rt_mutex_finish_proxy_lock", "rt_mutex_handle_deadlock", "rt_mutex_fastlock")
	enter(class{role: roleWait, kind: Mutex, argument: true}, "_mutex_lock", "_mutex_lock_interruptible", "_mutex_lock_killable",
		"_mutex_lock_io", "_mutex_lock_nested", "__mutex_lock_state") // until 5.14
	enter(class{role: roleWait, kind: WWMutex, argument: true}, "__ww_rt_mutex_lock")
	enter(class{role: roleWait, kind: Spinlock}, "rt_spin_lock", "rt_spin_lock_nested", "rt_spin_lock_nest_lock", "__rt_spin_lock")
	enter(class{role: roleWait, kind: RWLock, mode: Read, argument: true}, "rt_read_lock", "do_read_rt_lock", "__read_rt_lock")
	enter(class{role: roleWait, kind: RWLock, mode: Write, argument: true}, "rt_write_lock", "rt_write_lock_nested", "do_write_rt_lock", "__write_rt_lock")
	// Those of rwlocks have the same names, see rwbaseKind.
	enter(class{role: roleWait, kind: RWSem, mode: Read, argument: true}, "rwbase_read_lock", "__rwbase_read_lock", "__down_read")
	enter(class{role: roleWait, kind: RWSem, mode: Write, argument: true}, "rwbase_write_lock", "__down_write_common")
	addEffect(tagSpin, take, "rt_spin_lock", "rt_spin_lock_nested", "rt_spin_lock_nest_lock")
	addEffect(tagSpin, takeIf, "rt_spin_trylock", "rt_spin_trylock_bh")
	addEffect(tagSpin, giveBack, "rt_spin_unlock")
	addEffect(tagReadLock, take, "rt_read_lock")
	addEffect(tagReadLock, takeIf, "rt_read_trylock")
	addEffect(tagReadLock, giveBack, "rt_read_unlock")
	addEffect(tagWriteLock, take, "rt_write_lock", "rt_write_lock_nested")
	addEffect(tagWriteLock, takeIf, "rt_write_trylock")
	addEffect(tagWriteLock, giveBack, "rt_write_unlock")
}

// stateRTLockWait is TASK_RTLOCK_WAIT, of those who sleep for a spinlock or a rwlock. The
// state that they had before is in task_struct.saved_state.
const stateRTLockWait = 0x1000

// dressed makes of a wait for an rt_mutex one for the lock that is made of it, if the
// function that waits is one of that lock.
func (b *builder) dressed(s *stack, f *found) {
	i := s.innermost(roleWait)
	if f.kind != RTMutex || i < 0 {
		return
	}
	if f.frame < 0 {
		f.frame = i
	}
	kind, mode, frame := s.rtKind(i)
	if kind == "" {
		kind, mode = b.calledFor(s, i)
	}
	part, ok := b.forms.rt.parts[kind]
	if !ok {
		return
	}
	f.rtBase, f.addr, f.frame = f.addr, f.addr-part.mutex, frame
	f.kind, f.mode = kind, mode
}

// rtKind is the lock whose function is the nearest to a frame in which a task waits for
// an rt_mutex.
func (s *stack) rtKind(from int) (Kind, Mode, int) {
	for i := from; i < len(s.frames) && s.frames[i].fn.classed; i++ {
		c := s.frames[i].fn.class
		if c.role == roleWait && c.kind != RTMutex && c.kind != "" {
			return s.rwbaseKind(c.kind, i), c.mode, i
		}
	}
	return "", "", from
}

// calledFor is the lock whose function was called by the first that is none of locking:
// _mutex_lock of 5.10 jumps to the same function as rt_mutex_lock, so that no frame is its
// own.
func (b *builder) calledFor(s *stack, from int) (Kind, Mode) {
	i := from
	for i < len(s.frames) && s.frames[i].fn.classed {
		i++
	}
	if i == len(s.frames) {
		return "", ""
	}
	caller := &s.frames[i]
	if !caller.ret || caller.fn.start == 0 || caller.pc < caller.fn.start {
		return "", ""
	}
	target, ok := b.arch.CallTarget(b.code(caller.fn), int(caller.pc-caller.fn.start), caller.fn.start)
	if !ok {
		return "", ""
	}
	sym, off, ok := b.k.SymbolAt(target)
	if !ok || off != 0 {
		return "", ""
	}
	c, ok := classOf(sym.Name)
	if !ok || c.role != roleWait || c.kind == RTMutex {
		return "", ""
	}
	return s.rwbaseKind(c.kind, i), c.mode
}

// rwbaseKind tells a rwlock from a rw_semaphore: both have the functions of rwbase_rt.c,
// and who waits for a rwlock sleeps in a way of its own.
func (s *stack) rwbaseKind(kind Kind, frame int) Kind {
	if kind != RWSem {
		return kind
	}
	if s.tk.State&stateRTLockWait != 0 {
		return RWLock
	}
	for i := range frame {
		switch s.frames[i].fn.name {
		case "schedule_rtlock", "rtlock_slowlock", "rtlock_slowlock_locked":
			return RWLock
		}
	}
	if frame+1 < len(s.frames) && s.frames[frame+1].fn.classed && s.frames[frame+1].fn.class.kind == RWLock {
		return RWLock
	}
	return kind
}

// rtSpinner looks whether a processor's task is in the queue of an rt_mutex: it spins
// while the owner runs on another one (rtmutex_spin_on_owner), or was just woken.
func (b *builder) rtSpinner(c *unwind.CPU, s *stack) bool {
	l := &b.forms.task
	if c.Task == nil || !l.PIBlockedOn.Has() || !b.forms.rt.ok {
		return false
	}
	fields, err := b.k.Peek(c.Task.Addr, b.field)
	if err != nil {
		return false
	}
	f, ok := b.piBlocked(l.PIBlockedOn.Get(fields))
	if !ok {
		return false
	}
	b.dressed(s, &f)
	b.addWait(s, f, Wait{Mode: f.mode, Methods: []Method{f.method}, Sure: f.sure, Position: -1, Spinning: true})
	return true
}

// unifyRT makes one lock of those that were taken for an rt_mutex by some of the waiters,
// whose stacks do not tell what it is part of, and for the whole lock by others.
func (b *builder) unifyRT() {
	whole := map[uint64]int{}
	for i := range b.extra {
		if base := b.extra[i].rtBase; base != 0 {
			whole[base] = i
		}
	}
	if len(whole) == 0 {
		return
	}
	to := make([]int, len(b.snap.Locks))
	kept := 0
	for i := range b.snap.Locks {
		l := &b.snap.Locks[i]
		if j, ok := whole[uint64(l.Addr)]; ok && l.Kind == RTMutex {
			for t := range b.extra[i].waiting {
				b.extra[j].waiting[t] = true
			}
			to[i] = -1 - j
			continue
		}
		to[i] = kept
		b.snap.Locks[kept], b.extra[kept] = *l, b.extra[i]
		kept++
	}
	if kept == len(to) {
		return
	}
	b.snap.Locks, b.extra = b.snap.Locks[:kept], b.extra[:kept]
	moved := func(i int) int {
		if to[i] < 0 {
			return to[-1-to[i]]
		}
		return to[i]
	}
	for i := range b.snap.Waits {
		b.snap.Waits[i].Lock = moved(b.snap.Waits[i].Lock)
	}
	for key, i := range b.locks {
		b.locks[key] = moved(i)
	}
}

// rtHolder reads who holds a lock that is an rt_mutex or made of one, and in which order
// the others are served.
func (b *builder) rtHolder(i int, base uint64) {
	owner, ok := b.uint64At(base + b.forms.rt.owner)
	if !ok {
		b.snap.Locks[i].Broken = "its owner cannot be read"
		b.fail(fmt.Errorf("%s at %#x: its owner cannot be read", b.snap.Locks[i].Kind, uint64(b.snap.Locks[i].Addr)))
		return
	}
	b.snap.Coverage.Read++
	queue, whole := b.rtQueue(i, base)
	if len(queue) > 0 && queue[0] >= 0 {
		// It is woken whenever the lock changes hands, also if another one gets it.
		b.extra[i].first = uint64(b.snap.Tasks[b.snap.Waits[queue[0]].Task].Addr)
	}
	before := 0
	if part := b.forms.rt.parts[b.snap.Locks[i].Kind]; part.hasReaders && b.extra[i].rtBase != 0 {
		before = b.rwbaseHolder(i, owner, part)
	} else {
		b.rtOwner(i, owner)
	}
	for n, w := range queue {
		if w >= 0 {
			b.snap.Waits[w].Position = before + n
		}
	}
	if whole {
		b.snap.Locks[i].Queue = before + len(queue)
	}
}

// rtOwner tells the owner of an rt_mutex: its lowest bits are flags.
func (b *builder) rtOwner(i int, owner uint64) {
	l := &b.snap.Locks[i]
	who := owner &^ rtOwnerFlags
	l.Held, l.HeldKnown = who != 0, true
	if who == 0 {
		l.NoHolder = "nobody owns it"
		return
	}
	b.ownedBy(i, who, "", ByOwner, Certain, owner, "")
}

// rtOwnerFlags are the bits of rt_mutex.owner that are not the task
// (RT_MUTEX_HAS_WAITERS).
const rtOwnerFlags = 3

// rtQueue are the waits in the tree or list of an rt_mutex, by priority; -1 for those that
// are not known. It is whole unless the tree breaks.
func (b *builder) rtQueue(i int, base uint64) (queue []int, whole bool) {
	r := &b.forms.rt
	nodes := rbtree.Nodes(b.k, base+r.waiters, maxWaiters)
	if r.plist {
		nodes = list.Circular(b.k, base+r.waiters, maxWaiters)
	}
	place := b.rtPlaces()
	for node, err := range nodes {
		if err != nil {
			b.snap.Locks[i].Broken = "the tree of waiters breaks: " + err.Error()
			b.fail(fmt.Errorf("%s at %#x: %w", b.snap.Locks[i].Kind, uint64(b.snap.Locks[i].Addr), err))
			return nil, false // what is behind the break would have wrong places
		}
		w, ok := place[node]
		if !ok || b.snap.Waits[w].Lock != i {
			w = -1
		}
		queue = append(queue, w)
	}
	return queue, true
}

// rtPlaces are the waits in queues of rt_mutexes, by the address of the node.
func (b *builder) rtPlaces() map[uint64]int {
	if b.rtNodes != nil {
		return b.rtNodes
	}
	b.rtNodes = map[uint64]int{}
	for w := range b.snap.Waits {
		if wait := &b.snap.Waits[w]; wait.Evidence.Slot != 0 && len(wait.Methods) > 0 && wait.Methods[0] == ByPI {
			b.rtNodes[uint64(wait.Evidence.Slot)+b.forms.rt.node] = w
		}
	}
	return b.rtNodes
}
