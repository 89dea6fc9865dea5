package lock_test

import (
	"slices"
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/lock"
)

// TestPointers: what a task_struct itself says comes first, and the task's waiter
// agrees with it.
func TestPointers(t *testing.T) {
	for _, l := range []*synthetic.Layout{synthetic.V6_18(), synthetic.V7()} {
		for kind, bits := range map[lock.Kind]uint64{lock.Mutex: 0, lock.Semaphore: 1, lock.RWSem: 3} {
			if !l.Has("task_struct", "blocker") {
				t.Logf("%s has no blocker", l.Name)
				continue
			}
			q := newQueue(l, kind)
			for _, task := range q.tasks {
				task.Set("blocker", q.lock.Addr|bits)
				if kind == lock.Mutex && task.Has("blocked_on") {
					task.Set("blocked_on", q.lock.Addr)
				}
			}
			p := byThread(snapshot(t, q.open(t), lock.Options{}))
			for i, task := range q.tasks {
				w := p.wait[task.PID]
				if w == nil {
					t.Fatalf("%s %s: waiter %d was not found", l.Name, kind, i)
				}
				first := lock.ByBlocker
				if kind == lock.Mutex && task.Has("blocked_on") {
					first = lock.ByBlockedOn
				}
				got := p.Locks[w.Lock]
				if got.Kind != kind || uint64(got.Addr) != q.lock.Addr || w.Methods[0] != first || !slices.Contains(w.Methods, lock.ByWaitList) || w.Position != i {
					t.Errorf("%s %s: waiter %d: %+v %+v", l.Name, kind, i, got, w)
				}
				if kind == lock.RWSem && w.Mode != lock.Write {
					t.Errorf("%s: mode %q", l.Name, w.Mode)
				}
			}
			if len(p.Locks) != 1 {
				t.Errorf("%s %s: %d locks", l.Name, kind, len(p.Locks))
			}
		}
	}
}

// withLockdep adds to 6.1 what CONFIG_LOCKDEP does, as far as it matters here.
const withLockdep = `
struct lockdep_map 48
0 8 key void *
24 8 name char *
struct held_lock 56
0 8 prev_chain_key u64
8 8 acquire_ip unsigned long
16 8 instance struct lockdep_map *
48:0/13 4 class_idx unsigned int
48:16/2 4 read unsigned int
edit rw_semaphore
40 48 dep_map struct lockdep_map
size 88
edit task_struct
9000 4 lockdep_depth unsigned int
9008 168 held_locks struct held_lock [3]
size 9216
`

// TestLockdep: held_locks says what a task asks for, and who has what, readers
// included.
func TestLockdep(t *testing.T) {
	l := synthetic.V6_1().Extend(withLockdep)
	m := newMachine(l, 1)
	obj := m.Var("the_lock", "struct rw_semaphore").Object
	other := m.Var("other_lock", "struct rw_semaphore").Object
	hold := func(task *synthetic.Task, n int, of synthetic.Object, read uint64) {
		at := task.At("held_locks") + uint64(n)*56
		m.ObjectAt("held_lock", at).Set("instance", of.At("dep_map")).Set("acquire_ip", m.caller.Addr).Set("read", read)
		task.Set("lockdep_depth", uint64(n+1))
	}
	reader := m.sleeper("reader")
	hold(reader, 0, obj, 1)
	waiter, w := m.waiter("waiter", lock.RWSem, obj.Addr, lock.Write)
	m.link(obj, []synthetic.Object{w})
	hold(waiter, 0, other, 0)
	hold(waiter, 1, obj, 0)
	obj.Set("count.counter", 1<<8|2)
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	got := p.wait[waiter.PID]
	if got == nil || uint64(p.Locks[got.Lock].Addr) != obj.Addr || got.Methods[0] != lock.ByLockdep || got.Mode != lock.Write ||
		!slices.Contains(got.Methods, lock.ByWaitList) || got.Sure != lock.Certain {
		t.Fatalf("%+v", got)
	}
	h, ok := p.holders(obj.Addr, lock.Certain)[reader.PID]
	if !ok || h.Mode != lock.Read || h.Method != lock.ByLockdep || len(p.Holds) != 1 || p.Locks[got.Lock].NoHolder != "" {
		t.Errorf("%+v, %+v", p.Holds, p.Locks)
	}
}

// realtime makes of 6.1 a kernel with PREEMPT_RT: a mutex is an rt_mutex.
const realtime = `
edit mutex
- owner
- wait_lock
- osq
- wait_list
0 32 rtmutex struct rt_mutex_base
size 32
`

// TestRealtime: a task that waits for the rt_mutex of a mutex waits for the mutex.
func TestRealtime(t *testing.T) {
	l := synthetic.V6_1().Extend(realtime)
	m := newMachine(l, 1)
	obj := m.Var("the_lock", "struct mutex").Object
	slow := m.NewCode("rt_mutex_slowlock_block", 64).Enter(waiterRoom).Call("__schedule").Leave()
	outer := m.NewCode("mutex_lock", 64).Enter(0).Call("rt_mutex_slowlock_block").Leave()
	user := m.NewCode("driver", 64).Enter(0).Call("mutex_lock").Leave()
	owner, waiter := m.sleeper("owner"), m.task("waiter")
	bases := waiter.Sleep(synthetic.Frame{In: m.sched, Calls: "context_switch", Locals: 0x40},
		synthetic.Frame{In: slow, Calls: "__schedule", Locals: waiterRoom},
		synthetic.Frame{In: outer, Calls: "rt_mutex_slowlock_block"}, synthetic.Frame{In: user, Calls: "mutex_lock"})
	w := m.ObjectAt("rt_mutex_waiter", bases[1]-waiterRoom)
	w.Set("task", waiter.Addr).Set("lock", obj.At("rtmutex"))
	waiter.Set("pi_blocked_on", w.Addr)
	m.PutUint64(m.ObjectAt("rt_mutex_base", obj.Addr).At("waiters"), w.At("tree"))
	m.ObjectAt("rt_mutex_base", obj.Addr).Set("owner", owner.Addr|1)
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	got := p.wait[waiter.PID]
	if got == nil || p.Locks[got.Lock].Kind != lock.Mutex || uint64(p.Locks[got.Lock].Addr) != obj.Addr || got.Methods[0] != lock.ByPI ||
		got.Sure != lock.Certain || p.Tasks[got.Task].Doing != "driver" {
		t.Fatalf("%+v %+v", got, p.Locks)
	}
	if _, ok := p.holders(obj.Addr, lock.Certain)[owner.PID]; !ok {
		t.Errorf("%+v", p.Holds)
	}
}

// TestOptimisticSpinner: a processor that spins while the owner of a mutex runs waits
// for that mutex.
func TestOptimisticSpinner(t *testing.T) {
	m := newMachine(synthetic.V6_12(), 4)
	obj := m.Var("the_lock", "struct mutex").Object
	spin := m.NewCode("mutex_spin_on_owner", 64).Enter(0).Nop(16).Leave()
	lockFn := m.NewCode("__mutex_lock", 64).Enter(0x40).Call("mutex_spin_on_owner").Leave()
	user := m.NewCode("driver", 64).Enter(0).Load(synthetic.RDI, obj.Addr).Call("__mutex_lock").Leave()
	work := m.NewCode("busy_with_it", 64).Enter(0).Nop(16).Leave()
	owner, spinner := m.task("owner"), m.task("spinner")
	owner.RunOn(1, nil, synthetic.Frame{In: work, Offset: 12})
	spinner.RunOn(2, nil, synthetic.Frame{In: spin, Offset: 12}, synthetic.Frame{In: lockFn, Calls: "mutex_spin_on_owner", Locals: 0x40},
		synthetic.Frame{In: user, Calls: "__mutex_lock"})
	obj.Set("owner.counter", owner.Addr)
	m.PutUint64(obj.At("wait_list"), obj.At("wait_list"))
	m.PutUint64(obj.At("wait_list")+8, obj.At("wait_list"))
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	w := p.wait[spinner.PID]
	if w == nil || p.Locks[w.Lock].Kind != lock.Mutex || uint64(p.Locks[w.Lock].Addr) != obj.Addr || !w.Spinning || w.Methods[0] != lock.ByArgument {
		t.Fatalf("%+v, %+v, %+v", w, p.Locks, p.Unexplained)
	}
	if _, ok := p.holders(obj.Addr, lock.Certain)[owner.PID]; !ok {
		t.Errorf("%+v", p.Holds)
	}
}

// TestReadWriteLock: processors spin for a rwlock that a reader has; the spinlock
// inside of it is not what they wait for.
func TestReadWriteLock(t *testing.T) {
	m := newMachine(synthetic.V6_12(), 4)
	obj := m.Var("tasklist_lock", "rwlock_t")
	inner := m.NewCode("queued_spin_lock_slowpath", 64).Enter(0).Nop(16).Leave()
	slow := m.NewCode("queued_write_lock_slowpath", 64).Enter(0x20).Call("queued_spin_lock_slowpath").Leave()
	m.NewCode("_raw_read_lock", 32).Enter(0).Leave()
	write := m.NewCode("forget_original_parent", 64).Enter(0).Load(synthetic.RDI, obj.Addr).Call("queued_write_lock_slowpath").Leave()
	read := m.NewCode("do_each_thread", 96).Enter(0).Load(synthetic.RDI, obj.Addr).Call("_raw_read_lock").Nop(30).Leave()
	reader, one, two := m.task("reader"), m.task("writer1"), m.task("writer2")
	reader.RunOn(0, nil, synthetic.Frame{In: read, Offset: 40})
	one.RunOn(1, map[string]uint64{"di": obj.Addr}, synthetic.Frame{In: slow, Offset: 12, Locals: 0x20}, synthetic.Frame{In: write, Calls: "queued_write_lock_slowpath"})
	two.RunOn(2, map[string]uint64{"di": obj.Addr + 4}, synthetic.Frame{In: inner, Offset: 12},
		synthetic.Frame{In: slow, Calls: "queued_spin_lock_slowpath", Locals: 0x20}, synthetic.Frame{In: write, Calls: "queued_write_lock_slowpath"})
	m.PutUint32(obj.Addr, 1<<9|0x100) // one reader, a writer waits
	m.PutUint32(obj.Addr+4, 0x101)
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	for _, task := range []*synthetic.Task{one, two} {
		w := p.wait[task.PID]
		if w == nil || p.Locks[w.Lock].Kind != lock.RWLock || uint64(p.Locks[w.Lock].Addr) != obj.Addr || w.Mode != lock.Write {
			t.Errorf("%s: %+v, %+v, %+v", task.Comm, w, p.Locks, p.Unexplained)
		}
	}
	if h, ok := p.holders(obj.Addr, lock.Suspected)[reader.PID]; !ok || h.Mode != lock.Read || len(p.Holds) != 1 {
		t.Errorf("%+v", p.Holds)
	}
	if l := p.Locks[0]; l.State != "locked by 1 reader" {
		t.Errorf("%+v", l)
	}
}

// TestLoops: processors that wait in loops of the functions that they are in, for the
// bit of a hash chain and for a writer of a seqlock.
func TestLoops(t *testing.T) {
	m := newMachine(synthetic.V6_12().Extend("struct seqlock 8\n0 4 sequence unsigned int\n4 4 lock unsigned int\n"), 4)
	bucket, rename := m.Var("the_bucket", "unsigned long"), m.Var("rename_lock", "unsigned long")
	bit := []byte{0xf0, 0x48, 0x0f, 0xba, 0x2f, 0x00, 0x73, 0x09, 0xf3, 0x90, 0x48, 0x8b, 0x07, 0xa8, 0x01, 0x75, 0xf7, 0xc3}
	seq := []byte{0xeb, 0x02, 0xf3, 0x90, 0x8b, 0x03, 0xa8, 0x01, 0x75, 0xf8, 0xc3}
	inBit, inSeq := m.Func("__d_rehash", bit), m.Func("d_walk", seq)
	m.NewCode("_raw_spin_lock", 32).Enter(0).Leave()
	write := m.NewCode("d_move", 96).Enter(0).Load(synthetic.RDI, rename.Addr+4).Call("_raw_spin_lock").Nop(30).Leave()
	one, two, writer := m.task("bit"), m.task("seq"), m.task("writer")
	outer := m.NewCode("lookup", 32).Enter(0).Call("d_move").Leave()
	one.RunOn(0, map[string]uint64{"ip": inBit + 10, "di": bucket.Addr}, synthetic.Frame{In: outer, Calls: "d_move"})
	two.RunOn(1, map[string]uint64{"ip": inSeq + 4, "bx": rename.Addr}, synthetic.Frame{In: outer, Calls: "d_move"})
	writer.RunOn(2, nil, synthetic.Frame{In: write, Offset: 40})
	m.PutUint64(bucket.Addr, 0xffff888000001001)
	m.PutUint64(rename.Addr, 1<<32|7)
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	for _, c := range []struct {
		task *synthetic.Task
		kind lock.Kind
		addr uint64
	}{{one, lock.HlistBL, bucket.Addr}, {two, lock.Seqlock, rename.Addr}} {
		w := p.wait[c.task.PID]
		if w == nil || p.Locks[w.Lock].Kind != c.kind || uint64(p.Locks[w.Lock].Addr) != c.addr || !w.Spinning || !p.Locks[w.Lock].Held {
			t.Errorf("%s: %+v, %+v, %+v", c.task.Comm, w, p.Locks, p.Unexplained)
		}
	}
	if h, ok := p.holders(rename.Addr, lock.Suspected)[writer.PID]; !ok || h.Method != lock.ByCode {
		t.Errorf("%+v", p.Holds)
	}
}

// TestLockref: a processor that spins for the lock in a dentry's d_lockref waits for
// that dentry, which has a path.
func TestLockref(t *testing.T) {
	m := newMachine(synthetic.V6_12(), 4)
	super := m.SuperBlock("xfs", "dm-0")
	m.Mount(super, nil)
	d := m.Dentry(m.Dentry(super.Root, "etc"), "passwd")
	spin := m.NewCode("queued_spin_lock_slowpath", 64).Enter(0).Nop(16).Leave()
	m.NewCode("_raw_spin_lock", 32).Enter(0).Leave()
	dput := m.NewCode("dput", 64).Enter(0x20).Call("queued_spin_lock_slowpath").Leave()
	hold := m.NewCode("d_invalidate", 96).Enter(0x20).Move(synthetic.RBX, synthetic.RDI).Call("_raw_spin_lock").Nop(30).Leave()
	spinner, holder := m.task("spinner"), m.task("holder")
	spinner.RunOn(1, map[string]uint64{"di": d.At("d_lockref")}, synthetic.Frame{In: spin, Offset: 12}, synthetic.Frame{In: dput, Calls: "queued_spin_lock_slowpath", Locals: 0x20})
	holder.RunOn(2, map[string]uint64{"bx": d.At("d_lockref")}, synthetic.Frame{In: hold, Offset: 40, Locals: 0x20})
	m.PutUint32(d.At("d_lockref"), 0x101)
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	w := p.wait[spinner.PID]
	if w == nil {
		t.Fatalf("%+v", p.Unexplained)
	}
	l := p.Locks[w.Lock]
	if l.Kind != lock.Lockref || l.Object == nil || l.Object.Type != "struct dentry" || l.Object.Path != "/etc/passwd" || uint64(l.Object.Addr) != d.Addr ||
		l.State != "locked, pending" || w.Position != 0 {
		t.Errorf("%+v %+v %+v", l, l.Object, w)
	}
	if h, ok := p.holders(d.At("d_lockref"), lock.Suspected)[holder.PID]; !ok || h.Method != lock.ByCode {
		t.Errorf("%+v", p.Holds)
	}
}

// TestLastHolder: since 6.16 a semaphore notes who took it last, which is a hint.
func TestLastHolder(t *testing.T) {
	q := newQueue(synthetic.V7(), lock.Semaphore)
	q.lock.Set("last_holder", q.owner.Addr)
	p := byThread(snapshot(t, q.open(t), lock.Options{}))
	if h, ok := p.holders(q.lock.Addr, lock.Hint)[q.owner.PID]; !ok || h.Method != lock.ByReader {
		t.Errorf("%+v", p.Holds)
	}
}

// TestPercpuWriter: a writer that waits for the readers of a percpu_rw_semaphore is on
// no list; the semaphore names it, in the old form and in the new one.
func TestPercpuWriter(t *testing.T) {
	for _, l := range []*synthetic.Layout{synthetic.EL8(), synthetic.V5_4(), synthetic.V5_10(), synthetic.V6_12(), synthetic.V7()} {
		if !l.Has("percpu_rw_semaphore", "writer") {
			t.Logf("%s has no writer", l.Name)
			continue
		}
		m := newMachine(l, 1)
		obj := m.Var("the_lock", "struct percpu_rw_semaphore").Object
		m.emptyLists(obj)
		down := m.NewCode("percpu_down_write", 64).Enter(0x20).Call("__schedule").Leave()
		user := m.NewCode("freeze_super", 64).Enter(0).Call("percpu_down_write").Leave()
		writer := m.task("writer")
		bases := writer.Sleep(synthetic.Frame{In: m.sched, Calls: "context_switch", Locals: 0x40},
			synthetic.Frame{In: down, Calls: "__schedule", Locals: 0x20}, synthetic.Frame{In: user, Calls: "percpu_down_write"})
		m.PutUint64(bases[1]-8, obj.Addr)
		m.PutUint64(obj.At("writer"), writer.Addr)
		p := byThread(snapshot(t, m.open(t), lock.Options{}))
		w := p.wait[writer.PID]
		if w == nil || p.Locks[w.Lock].Kind != lock.PercpuRWSem || uint64(p.Locks[w.Lock].Addr) != obj.Addr || w.Mode != lock.Write || w.Methods[0] != lock.ByMember {
			t.Errorf("%s: %+v, %+v, %+v", l.Name, w, p.Locks, p.Unexplained)
		}
	}
}

// emptyLists makes the lists of a percpu_rw_semaphore empty ones.
func (m *machine) emptyLists(obj synthetic.Object) {
	var at uint64
	switch {
	case obj.Has("waiters.head"):
		at = obj.At("waiters.head")
	case obj.Has("rw_sem"):
		at = obj.At("rw_sem") + m.Layout.Offset("rw_semaphore", "wait_list")
	default:
		at = obj.At("waiters") + 8
	}
	m.PutUint64(at, at)
	m.PutUint64(at+8, at)
}
