package lock_test

import (
	"testing"
	"time"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/lock"
)

// machine is a synthetic kernel in which tasks wait for locks.
type machine struct {
	*synthetic.Kernel
	sched, caller *synthetic.Code
	slow          map[lock.Kind]*synthetic.Code
	made          map[string]*synthetic.Code // by sleepIn and queueEntry
	pid           int
	table         uint64 // of wait queues
	queues        int
}

// waiterRoom is what the slow paths have for local variables.
const waiterRoom = 0x80

func newMachine(l *synthetic.Layout, cpus int) *machine {
	return newMachineOn(l, synthetic.Machine{CPUs: cpus, RAM: 1 << 30})
}

func newMachineOn(l *synthetic.Layout, on synthetic.Machine) *machine {
	m := &machine{Kernel: synthetic.New(l, on), slow: map[lock.Kind]*synthetic.Code{}, pid: 100}
	m.NewCode("context_switch", 16).Enter(0).Leave()
	m.sched = m.NewCode("__schedule", 64).Enter(0x40).Call("context_switch").Leave()
	for kind, name := range map[lock.Kind]string{lock.Mutex: "__mutex_lock_slowpath", lock.RWSem: "rwsem_down_failed_common", lock.Semaphore: "__down"} {
		m.slow[kind] = m.NewCode(name, 64).Enter(waiterRoom).Call("__schedule").Leave()
	}
	m.caller = m.NewCode("user_of_locks", 128).Enter(0x20)
	for _, name := range []string{"__mutex_lock_slowpath", "rwsem_down_failed_common", "__down", "__schedule"} {
		m.caller.Call(name)
	}
	m.caller.Leave()
	return m
}

func (m *machine) task(comm string) *synthetic.Task {
	m.pid++
	t := m.Task(comm, m.pid, m.InitNet())
	t.SetAny(2, "__state", "state") // TASK_UNINTERRUPTIBLE
	return t
}

// sleeper is a task that sleeps by itself.
func (m *machine) sleeper(comm string) *synthetic.Task {
	t := m.task(comm)
	t.Sleep(synthetic.Frame{In: m.sched, Calls: "context_switch", Locals: 0x40}, synthetic.Frame{In: m.caller, Calls: "__schedule", Locals: 0x20})
	return t
}

var waiterTags = map[lock.Kind]string{lock.Mutex: "mutex_waiter", lock.RWSem: "rwsem_waiter", lock.Semaphore: "semaphore_waiter"}

// waiter is a task that waits for a lock of a kind: the address of its waiter comes
// with it. The lock's address lies in the caller's frame.
func (m *machine) waiter(comm string, kind lock.Kind, at uint64, mode lock.Mode) (*synthetic.Task, synthetic.Object) {
	t := m.task(comm)
	slow := m.slow[kind]
	bases := t.Sleep(synthetic.Frame{In: m.sched, Calls: "context_switch", Locals: 0x40},
		synthetic.Frame{In: slow, Calls: "__schedule", Locals: waiterRoom},
		synthetic.Frame{In: m.caller, Calls: slow.Name, Locals: 0x20})
	m.PutUint64(bases[2]-0x10, at)
	w := m.ObjectAt(waiterTags[kind], bases[1]-waiterRoom+0x10)
	w.Set("task", t.Addr)
	if kind == lock.RWSem {
		read := map[lock.Mode]uint64{lock.Read: 1, lock.Write: 0}
		if w.Has("flags") {
			read = map[lock.Mode]uint64{lock.Read: 1, lock.Write: 2}
			w.Set("flags", read[mode])
		} else {
			w.Set("type", read[mode])
		}
	}
	return t, w
}

// link puts waiters on a lock's list, in the form that the kernel has.
func (m *machine) link(l synthetic.Object, waiters []synthetic.Object) {
	list, headless := "wait_list", false
	if l.Has("first_waiter") {
		list, headless = "first_waiter", true
	} else if l.Type.Members != nil {
		for _, member := range l.Type.Members {
			if member.Name == "wait_list" {
				headless = member.Size == 8
			}
		}
	}
	var nodes []uint64
	for _, w := range waiters {
		nodes = append(nodes, w.At("list"))
	}
	ring := nodes
	if !headless {
		ring = append([]uint64{l.At(list)}, nodes...)
	} else {
		m.PutUint64(l.At(list), nodes[0])
	}
	for i, n := range ring {
		next := ring[(i+1)%len(ring)]
		m.PutUint64(n, next)
		m.PutUint64(next+8, n)
	}
}

// own makes a task the owner of a lock, if the kernel notes that.
func (m *machine) own(l synthetic.Object, kind lock.Kind, t *synthetic.Task, waiters int) (noted bool) {
	owner := ""
	for _, path := range []string{"owner.counter", "owner"} {
		if l.Has(path) {
			owner = path
			break
		}
	}
	number := owner == "owner.counter"
	switch kind {
	case lock.Mutex:
		if l.Has("count.counter") {
			l.Set("count.counter", uint64(1<<32-1-waiters))
		}
		switch {
		case number:
			l.Set(owner, t.Addr|1)
		case !m.Layout.Has("task_struct", "thread_info") && m.Layout.Has("thread_info", "task") && m.Layout.Name == "2.6.32-el6":
			l.Set(owner, t.Stack)
		default:
			l.Set(owner, t.Addr)
		}
		return true
	case lock.RWSem:
		switch {
		case number: // since 5.3
			l.Set("count.counter", 1|2)
			l.Set(owner, t.Addr)
			return true
		case owner != "":
			l.SetAny(uint64(0xfffffffe00000001), "count.counter", "count")
			l.Set(owner, t.Addr)
			return true
		}
		l.SetAny(uint64(0xfffffffe00000001), "count.counter", "count")
	}
	return false
}

func (m *machine) open(t testing.TB) *kernel.Kernel {
	t.Helper()
	image, err := m.Image()
	if err != nil {
		t.Fatal(err)
	}
	info, err := m.DebugInfo()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(image, info, kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var tags = map[lock.Kind]string{lock.Mutex: "mutex", lock.RWSem: "rw_semaphore", lock.Semaphore: "semaphore"}

// TestReleases: mutexes, rw_semaphores and semaphores in the forms that they have
// had, each with an owner and three waiters.
func TestReleases(t *testing.T) {
	for _, l := range synthetic.Releases() {
		for _, kind := range []lock.Kind{lock.Mutex, lock.RWSem, lock.Semaphore} {
			t.Run(l.Name+"/"+tags[kind], func(t *testing.T) { checkRelease(t, l, kind) })
		}
	}
}

func checkRelease(t *testing.T, l *synthetic.Layout, kind lock.Kind) {
	if !l.HasStruct(tags[kind]) || !l.HasStruct(waiterTags[kind]) {
		t.Skipf("this release's layout lacks struct %s or struct %s, which the test plants", tags[kind], waiterTags[kind])
	}
	m := newMachine(l, 1)
	obj := m.Var("the_lock", "struct "+tags[kind]).Object
	owner := m.sleeper("owner")
	modes := []lock.Mode{lock.Read, lock.Write, lock.Read}
	var waiters []synthetic.Object
	var tasks []*synthetic.Task
	for _, mode := range modes {
		task, w := m.waiter("waiter", kind, obj.Addr, mode)
		tasks, waiters = append(tasks, task), append(waiters, w)
	}
	m.link(obj, waiters)
	noted := m.own(obj, kind, owner, len(waiters))
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	for i, task := range tasks {
		w := p.wait[task.PID]
		if w == nil {
			t.Fatalf("waiter %d was not found; %+v %+v", i, p.Unexplained, p.Coverage)
		}
		got := p.Locks[w.Lock]
		if got.Kind != kind || uint64(got.Addr) != obj.Addr || got.Symbol != "the_lock" || w.Position != i || w.Sure != lock.Certain || got.Queue != 3 {
			t.Errorf("waiter %d waits for %+v: %+v", i, got, w)
		}
		if kind == lock.RWSem && w.Mode != modes[i] {
			t.Errorf("waiter %d wants to %s, planted %s", i, w.Mode, modes[i])
		}
	}
	holders := p.holders(obj.Addr, lock.Certain)
	if _, ok := holders[owner.PID]; ok != noted || len(holders) > 1 {
		t.Errorf("the holders are %+v, planted %d", holders, owner.PID)
	}
	if got := p.Locks[p.wait[tasks[0].PID].Lock]; kind != lock.Semaphore && !got.Held {
		t.Errorf("the lock is said not to be held: %+v", got)
	}
	if !p.Coverage.Complete() {
		t.Errorf("coverage: %+v", p.Coverage)
	}
}

// case2 is the case of a RHEL 6 machine that freezes: kswapd0 is inside of
// __shrink_dcache_sb_locked, called under dcache_lock, and all others spin for it.
func case2(l *synthetic.Layout) (m *synthetic.Kernel, lockAddr uint64, holder *synthetic.Task, spinners []*synthetic.Task) {
	m = synthetic.New(l, synthetic.Machine{CPUs: 24})
	dcache := m.Var("dcache_lock", "spinlock_t")
	spin := m.NewCode("_spin_lock", 32).Enter(0).Nop(8).Leave()
	resched := m.NewCode("__cond_resched_lock", 64).Enter(0x10).Move(synthetic.RBX, synthetic.RDI).Call("_spin_lock").Leave()
	dec := m.NewCode("_atomic_dec_and_lock", 64).Enter(0x10).Move(synthetic.RDI, synthetic.RSI).Call("_spin_lock").Leave()
	inner := m.NewCode("__shrink_dcache_sb_locked", 512).Enter(0x40).Nop(200).Load(synthetic.RDI, dcache.Addr).Call("__cond_resched_lock").Nop(40).Leave()
	outer := m.NewCode("__shrink_dcache_sb", 128).Enter(0x20).Load(synthetic.RDI, dcache.Addr).Call("_spin_lock").
		Call("__shrink_dcache_sb_locked").Leave()
	shrink := m.NewCode("shrink_slab", 64).Enter(0).Call("__shrink_dcache_sb").Leave()
	dput := m.NewCode("dput", 64).Enter(0x20).Load(synthetic.RSI, dcache.Addr).Call("_atomic_dec_and_lock").Leave()
	path := m.NewCode("path_put", 64).Enter(0).Call("dput").Leave()
	holder = m.Task("kswapd0", 100, m.InitNet())
	holder.RunOn(0, nil, synthetic.Frame{In: inner, Offset: 100, Locals: 0x40}, synthetic.Frame{In: outer, Calls: "__shrink_dcache_sb_locked", Locals: 0x20},
		synthetic.Frame{In: shrink, Calls: "__shrink_dcache_sb"})
	di := map[string]uint64{"di": dcache.Addr}
	second := m.Task("kswapd1", 101, m.InitNet())
	second.RunOn(21, di, synthetic.Frame{In: spin, Offset: 10}, synthetic.Frame{In: resched, Calls: "_spin_lock", Locals: 0x10},
		synthetic.Frame{In: inner, Calls: "__cond_resched_lock", Locals: 0x40}, synthetic.Frame{In: outer, Calls: "__shrink_dcache_sb_locked", Locals: 0x20},
		synthetic.Frame{In: shrink, Calls: "__shrink_dcache_sb"})
	spinners = append(spinners, second)
	for cpu := 1; cpu <= 20; cpu++ {
		t := m.Task("perl", 200+cpu, m.InitNet())
		t.RunOn(cpu, di, synthetic.Frame{In: spin, Offset: 10}, synthetic.Frame{In: dec, Calls: "_spin_lock", Locals: 0x10},
			synthetic.Frame{In: dput, Calls: "_atomic_dec_and_lock", Locals: 0x20}, synthetic.Frame{In: path, Calls: "dput"})
		spinners = append(spinners, t)
	}
	m.PutUint32(dcache.Addr, uint32(0x30+22)<<16|0x30)
	return m, dcache.Addr, holder, spinners
}

// TestCase2: kswapd0 is the only suspect, by the call that took the lock, and the
// others spin.
func TestCase2(t *testing.T) {
	c, addr, holder, spinners := case2(synthetic.EL6())
	m := &machine{Kernel: c}
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	for _, s := range spinners {
		w := p.wait[s.PID]
		if w == nil || uint64(p.Locks[w.Lock].Addr) != addr || !w.Spinning || p.Locks[w.Lock].Kind != lock.Spinlock || p.Locks[w.Lock].Symbol != "dcache_lock" {
			t.Fatalf("%s %d: %+v %+v", s.Comm, s.PID, w, p.Unexplained)
		}
	}
	suspects := p.holders(addr, lock.Suspected, lock.Likely, lock.Certain, lock.Hint)
	h, ok := suspects[holder.PID]
	if !ok || len(suspects) != 1 {
		t.Fatalf("the suspects are %+v, want only kswapd0", suspects)
	}
	e := h.Evidence[0]
	if h.Sure != lock.Suspected || h.Method != lock.ByCode || e.Function != "__shrink_dcache_sb" || e.Called != "_spin_lock" || e.CallName == "" {
		t.Errorf("%+v", h)
	}
	if l := p.Locks[h.Lock]; !l.Held || l.State != "locked, serving 48, next 70: 21 wait" {
		t.Errorf("%+v", l)
	}
}

// TestManyWaiters: 10,000 tasks wait for 500 locks in chains of 20. The margin is
// wide: it is a matter of a fraction of it.
func TestManyWaiters(t *testing.T) {
	if testing.Short() {
		t.Skip("short run: 10,000 waiting tasks are built and read")
	}
	m := newMachine(synthetic.V6_12(), 4)
	const locks, each = 500, 20
	var owners []*synthetic.Task
	for i := range locks {
		obj := m.Alloc("mutex")
		var waiters []synthetic.Object
		var first *synthetic.Task
		for range each {
			task, w := m.waiter("waiter", lock.Mutex, obj.Addr, "")
			waiters = append(waiters, w)
			if first == nil {
				first = task
			}
		}
		owners = append(owners, first)
		m.link(obj, waiters)
		owner := first // of the last in a chain: it waits for itself, which is as good as any
		if i%20 != 0 {
			owner = owners[i-1]
		}
		m.own(obj, lock.Mutex, owner, each)
	}
	k := m.open(t)
	start := time.Now()
	s := snapshot(t, k, lock.Options{})
	took := time.Since(start)
	if len(s.Waits) != locks*each || len(s.Locks) != locks || len(s.Holds) != locks {
		t.Errorf("%d waits, %d locks, %d holds", len(s.Waits), len(s.Locks), len(s.Holds))
	}
	t.Log(took)
	if took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}
