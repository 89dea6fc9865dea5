package lock

import (
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
)

// What changed from release to release in the structures of locks and of those who
// wait for them is in this file.

// forms are the structures as the kernel at hand has them.
type forms struct {
	waiters []waiterForm // whose task and list are at known places
	locks   map[Kind]lockForm
	task    taskForm
	entry   entryForm
	timer   timerForm
	rt      rtForm
	percpu  percpuForm
}

// waiterForm is a structure that a sleeper has on its stack while it is on a list.
type waiterForm struct {
	name string
	// task and list are where the pointer to the sleeper and the struct
	// list_head are, in bytes.
	task, list uint64
	size       uint64
	kinds      []Kind
	mode       ctype.Field // that says whether it reads or writes
	hasMode    bool
	readValue  uint64 // of mode
}

// lockForm is where a lock keeps its waiters and its owner.
type lockForm struct {
	kind Kind
	name string // its type
	size uint64
	list uint64 // its struct list_head, or the pointer to the first waiter
	// headless tells that the waiters form a ring by themselves, to one of which
	// the lock points: mutex in RHEL 6, rw_semaphore in RHEL 7, and since 7.1
	// mutex, rw_semaphore and semaphore (first_waiter).
	headless bool
	owner    uint64
	hasOwner bool
	// ownerFlags are the bits of the owner that are not the address. They are 0
	// for a pointer.
	ownerFlags uint64
	// ownerInfo tells that the owner is a thread_info and not a task (mutex
	// before 3.2).
	ownerInfo bool
	count     uint64
	hasCount  bool
	// oldCount tells a rw_semaphore whose count has active lockers in its lower
	// half and waiters in the upper one (before 5.3, and its backports).
	oldCount   bool
	lastHolder uint64 // semaphore, since 6.16
	hasLast    bool
}

// taskForm are the members of struct task_struct that tell what it waits for.
type taskForm struct {
	kernel.Layout `kernel:"struct task_struct"`
	// BlockedOn is of a mutex since 6.18; with CONFIG_DEBUG_MUTEXES it was a
	// struct mutex_waiter until then.
	BlockedOn kernel.U64 `kernel:"blocked_on,optional"`
	// Blocker has the kind of lock in its lowest bits (since 6.16).
	Blocker      kernel.U64   `kernel:"blocker,optional"`
	BlockerMutex kernel.U64   `kernel:"blocker_mutex,optional"` // 6.15
	PIBlockedOn  kernel.U64   `kernel:"pi_blocked_on,optional"`
	ExecStart    kernel.U64   `kernel:"se.exec_start,optional"`
	Arrival      kernel.U64   `kernel:"sched_info.last_arrival,optional"`
	MM           kernel.U64   `kernel:"mm,optional"`
	Start        kernel.Bytes `kernel:"start_time,optional"` // in ns since 3.17
	Files        kernel.U64   `kernel:"files,optional"`
	Depth        kernel.U32   `kernel:"lockdep_depth,optional"`
	Held         kernel.Bytes `kernel:"held_locks,optional"`
	// RCUNesting is how deep it is inside of rcu_read_lock (CONFIG_PREEMPT_RCU).
	RCUNesting kernel.U32 `kernel:"rcu_read_lock_nesting,optional"`

	blockedOnWaiter bool
}

// entryForm is struct wait_queue_entry (before 4.13 struct __wait_queue) and the
// larger ones that it is a part of.
type entryForm struct {
	ok               bool
	private, fn      uint64
	entry            uint64
	head             uint64 // of struct wait_queue_head: its list
	bitEntry         uint64 // of struct wait_bit_queue_entry: the entry
	bitWord, bitNo   uint64
	hasBit           bool
	pageEntry        uint64 // of struct wait_page_queue (since 4.13)
	page, pageBit    uint64
	hasPage          bool
	swaitTask        uint64
	swaitList        uint64
	swaitHead        uint64 // of struct swait_queue_head: its list
	hasSwait         bool
	completionWait   uint64 // of struct completion: its queue
	completionList   uint64 // its list
	completionSwait  bool   // since 5.7
	hasCompletion    bool
	rcuCompletion    uint64 // of struct rcu_synchronize
	hasRCUCompletion bool
}

// rtForm is struct rt_mutex_waiter: pi_blocked_on leads to it.
type rtForm struct {
	ok         bool
	task, lock uint64
	tree       uint64 // the node in the lock's tree; before 3.14 a plist_node
	plist      bool
	owner      uint64 // of struct rt_mutex_base, or of struct rt_mutex before 5.16
	waiters    uint64
	node       uint64 // what the tree's or list's entries are, in the waiter
	inMutex    bool   // PREEMPT_RT: struct mutex is made of one
	size       uint64
	parts      map[Kind]rtPart // the locks that are made of one
}

// percpuForm is struct percpu_rw_semaphore. Its waiters have a queue of their own
// since 5.7; before, they waited for its rw_sem.
type percpuForm struct {
	ok      bool
	waiters uint64 // the list of the queue
	writer  uint64
	// hasWriter tells that the writer who waits for readers is noted.
	hasWriter bool
	block     uint64
	size      uint64
	rwsem     uint64
	old       bool
	// queue is the wait_queue_head of the writer who waits for readers: write_waitq
	// since 3.8, writer from 4.8 to 4.10.
	queue    uint64
	hasQueue bool
}

// at is the offset of the first of several members of a type that it has.
func at(t *ctype.Type, paths ...string) (uint64, bool) {
	if t == nil {
		return 0, false
	}
	for _, p := range paths {
		if f, err := t.Field(p); err == nil && f.Offset >= 0 {
			return uint64(f.Offset), true
		}
	}
	return 0, false
}

// typeOf is the first of several types that the kernel has, nil if none.
func typeOf(k *kernel.Kernel, names ...string) *ctype.Type {
	for _, n := range names {
		if t, err := k.Info().Type(n); err == nil && !t.Incomplete && t.Size() > 0 {
			return t
		}
	}
	return nil
}

func readForms(k *kernel.Kernel) (*forms, error) {
	f := &forms{locks: map[Kind]lockForm{}}
	if err := k.Resolve(&f.task); err != nil {
		return nil, err
	}
	f.readTask(k)
	f.readLocks(k)
	f.readWaiters(k)
	f.readEntries(k)
	f.readRT(k)
	f.readPercpu(k)
	return f, nil
}

func (f *forms) readTask(k *kernel.Kernel) {
	t := typeOf(k, "struct task_struct")
	if b, err := t.Field("blocked_on"); err == nil {
		if p := b.Type.Strip(); p.Kind == ctype.Pointer {
			f.task.blockedOnWaiter = p.Elem().Name == "mutex_waiter" || p.Elem().String() == "struct mutex_waiter"
		}
	}
}

// readLocks finds the locks that have a list of waiters.
func (f *forms) readLocks(k *kernel.Kernel) {
	for _, l := range []struct {
		kind Kind
		name string
	}{{Mutex, "struct mutex"}, {RWSem, "struct rw_semaphore"}, {Semaphore, "struct semaphore"}} {
		t := typeOf(k, l.name)
		if t == nil {
			continue
		}
		form := lockForm{kind: l.kind, name: l.name, size: uint64(t.Size())}
		var path string
		for _, path = range []string{"first_waiter", "wait_list"} {
			if t.HasField(path) {
				break
			}
		}
		list, err := t.Field(path)
		if err != nil {
			continue // PREEMPT_RT: it is an rt_mutex
		}
		form.list = uint64(list.Offset)
		form.headless = list.Type.Size() == 8
		form.readOwner(t)
		form.count, form.hasCount = at(t, "count.counter", "count", "activity")
		form.lastHolder, form.hasLast = at(t, "last_holder")
		f.locks[l.kind] = form
	}
}

// readOwner tells the owner's forms apart: a number has flags in its lowest bits
// (mutex since 4.10, rw_semaphore since 5.3), a pointer to a task none in a mutex,
// and two that mean readers in a rw_semaphore (since 4.8).
func (l *lockForm) readOwner(t *ctype.Type) {
	o, err := t.Field("owner")
	if err != nil {
		l.oldCount = l.kind == RWSem
		return
	}
	l.owner, l.hasOwner = uint64(o.Offset), true
	s := o.Type.Strip()
	if s.Kind == ctype.Pointer {
		l.ownerInfo = s.Elem().String() == "struct thread_info"
		if l.kind == RWSem {
			l.ownerFlags, l.oldCount = 3, true
		}
		return
	}
	l.ownerFlags = 7
}

func (f *forms) readWaiters(k *kernel.Kernel) {
	for _, w := range []struct {
		name  string
		kinds []Kind
	}{{"struct mutex_waiter", []Kind{Mutex, WWMutex}}, {"struct rwsem_waiter", []Kind{RWSem}},
		{"struct semaphore_waiter", []Kind{Semaphore}}} {
		t := typeOf(k, w.name)
		if t == nil {
			continue
		}
		form := waiterForm{name: w.name, kinds: w.kinds, size: uint64(t.Size())}
		var ok1, ok2 bool
		form.task, ok1 = at(t, "task")
		form.list, ok2 = at(t, "list")
		if !ok1 || !ok2 {
			continue
		}
		form.readMode(t)
		f.waiters = append(f.waiters, form)
	}
}

// readMode finds how a rwsem_waiter says what it wants: an enum since 3.10, and a
// bit 0 of flags before.
func (w *waiterForm) readMode(t *ctype.Type) {
	var err error
	if w.mode, err = t.Field("type"); err == nil {
		w.hasMode, w.readValue = true, 1
		for _, e := range w.mode.Type.Strip().Enumerators() {
			if e.Name == "RWSEM_WAITING_FOR_READ" {
				w.readValue = uint64(e.Value)
			}
		}
		return
	}
	if w.mode, err = t.Field("flags"); err == nil {
		w.hasMode, w.readValue = true, 1
	}
}

func (f *forms) readEntries(k *kernel.Kernel) {
	e := &f.entry
	if t := typeOf(k, "struct wait_queue_entry", "struct __wait_queue"); t != nil {
		var ok1, ok2, ok3 bool
		e.private, ok1 = at(t, "private")
		e.fn, ok2 = at(t, "func")
		e.entry, ok3 = at(t, "entry", "task_list")
		e.ok = ok1 && ok2 && ok3
	}
	e.head = 8
	if t := typeOf(k, "struct wait_queue_head", "struct __wait_queue_head"); t != nil {
		e.head, _ = at(t, "head", "task_list")
	}
	if t := typeOf(k, "struct wait_bit_queue_entry", "struct wait_bit_queue"); t != nil {
		var ok1, ok2, ok3 bool
		e.bitEntry, ok1 = at(t, "wq_entry", "wait")
		e.bitWord, ok2 = at(t, "key.flags")
		e.bitNo, ok3 = at(t, "key.bit_nr")
		e.hasBit = ok1 && ok2 && ok3
	}
	if t := typeOf(k, "struct wait_page_queue"); t != nil {
		var ok1, ok2, ok3 bool
		e.pageEntry, ok1 = at(t, "wait")
		e.page, ok2 = at(t, "folio", "page")
		e.pageBit, ok3 = at(t, "bit_nr")
		e.hasPage = ok1 && ok2 && ok3
	}
	if t := typeOf(k, "struct swait_queue"); t != nil {
		var ok1, ok2 bool
		e.swaitTask, ok1 = at(t, "task")
		e.swaitList, ok2 = at(t, "task_list")
		e.hasSwait = ok1 && ok2
	}
	e.swaitHead = 8
	if t := typeOf(k, "struct swait_queue_head"); t != nil {
		e.swaitHead, _ = at(t, "task_list")
	}
	e.readCompletion(k)
	f.readTimer(k)
}

func (e *entryForm) readCompletion(k *kernel.Kernel) {
	t := typeOf(k, "struct completion")
	if t == nil {
		return
	}
	w, err := t.Field("wait")
	if err != nil {
		return
	}
	e.completionWait, e.hasCompletion = uint64(w.Offset), true
	e.completionSwait = w.Type.Strip().Name == "swait_queue_head" || w.Type.String() == "struct swait_queue_head"
	e.completionList = e.completionWait + e.head
	if e.completionSwait {
		e.completionList = e.completionWait + e.swaitHead
	}
	if t := typeOf(k, "struct rcu_synchronize"); t != nil {
		e.rcuCompletion, e.hasRCUCompletion = at(t, "completion")
	}
}

func (f *forms) readRT(k *kernel.Kernel) {
	w := typeOf(k, "struct rt_mutex_waiter")
	l := typeOf(k, "struct rt_mutex_base", "struct rt_mutex")
	if w == nil || l == nil {
		return
	}
	r := &f.rt
	var ok [5]bool
	r.task, ok[0] = at(w, "task")
	r.lock, ok[1] = at(w, "lock")
	if r.tree, ok[2] = at(w, "tree.entry", "tree", "tree_entry"); !ok[2] {
		r.tree, ok[2] = at(w, "list_entry")
		r.plist = true
	}
	r.owner, ok[3] = at(l, "owner")
	r.waiters, ok[4] = at(l, "waiters.rb_root.rb_node", "waiters.rb_node", "waiters", "wait_list")
	r.node = r.tree
	if r.plist {
		if off, ok := at(typeOf(k, "struct plist_node"), "node_list", "plist.node_list"); ok {
			r.node += off
		}
		// In order of priority all hang from node_list; prio_list, which was in the
		// head too until 2.6.39, has one of each priority (include/linux/plist.h).
		if off, ok := at(typeOf(k, "struct plist_head"), "node_list"); ok {
			r.waiters += off
		}
	}
	r.size = uint64(l.Size())
	r.ok = ok[0] && ok[1] && ok[2] && ok[3] && ok[4]
	if m := typeOf(k, "struct mutex"); m != nil {
		_, r.inMutex = at(m, "rtmutex", "lock.owner")
	}
	r.readParts(k)
}

func (f *forms) readPercpu(k *kernel.Kernel) {
	t := typeOf(k, "struct percpu_rw_semaphore")
	if t == nil {
		return
	}
	p := &f.percpu
	p.size = uint64(t.Size())
	if w, ok := at(t, "waiters"); ok {
		p.waiters, p.ok = w+f.entry.head, true
		p.writer, p.hasWriter = at(t, "writer.task", "writer")
		p.block, _ = at(t, "block")
		return
	}
	p.rwsem, p.old = at(t, "rw_sem")
	p.ok = p.old
	for _, name := range []string{"writer", "write_waitq"} {
		switch w, err := t.Field(name); {
		case err != nil:
		case w.Type.Size() == 8: // struct rcuwait since 4.11
			p.writer, p.hasWriter = uint64(w.Offset), true
		default:
			p.queue, p.hasQueue = uint64(w.Offset), true
		}
	}
}
