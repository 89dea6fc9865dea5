package lock_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/lock"
)

// workers2 are the workqueues of 2.6.32 by its sources: a list of works and a thread for
// each processor.
const workers2 = `
struct wq_barrier 64
0 32 work struct work_struct
32 32 done struct completion
struct cpu_workqueue_struct 128
0 4 lock spinlock_t
8 16 worklist struct list_head
24 24 more_work wait_queue_head_t
48 8 current_work struct work_struct *
56 8 wq struct workqueue_struct *
64 8 thread struct task_struct *
struct workqueue_struct 64
0 8 cpu_wq struct cpu_workqueue_struct *
8 16 list struct list_head
24 8 name char *
`

// oldScene is a workqueue of 2.6.32, whose thread runs one work and has another one to
// do.
type oldScene struct {
	*machine
	wq, list, running, queued synthetic.Object
	thread                    *synthetic.Task
	barrierFn                 uint64
}

func newOldScene() *oldScene {
	m := newMachine(synthetic.EL6().Extend(workers2), 1)
	s := &oldScene{machine: m, wq: m.Alloc("workqueue_struct"), running: m.Alloc("work_struct"), queued: m.Alloc("work_struct")}
	s.list = m.ObjectAt("cpu_workqueue_struct", m.Virt(m.AllocPages(0)))
	slow, next := m.NewCode("slow_fn", 16).Enter(0).Leave(), m.NewCode("next_fn", 16).Enter(0).Leave()
	s.barrierFn = m.NewCode("wq_barrier_func", 16).Enter(0).Leave().Addr
	name := m.Virt(m.AllocPages(0))
	m.Write(name, []byte("kblockd\x00"))
	s.wq.Set("name", name).Set("cpu_wq", s.list.Addr)
	s.thread = m.sleeper("kblockd/0")
	s.list.Set("wq", s.wq.Addr).Set("thread", s.thread.Addr).Set("current_work", s.running.Addr)
	s.running.Set("func", slow.Addr)
	s.queued.Set("func", next.Addr).Set("data.counter", s.list.Addr|1)
	return s
}

// barrier is one who flushes, and the node of its barrier.
func (s *oldScene) barrier(comm string, path ...string) (*synthetic.Task, uint64) {
	t, done := s.completesAt(comm, path...)
	b := s.ObjectAt("wq_barrier", done-s.Layout.Offset("wq_barrier", "done"))
	work := s.ObjectAt("work_struct", b.At("work"))
	work.Set("func", s.barrierFn).Set("data.counter", s.list.Addr|1)
	return t, work.At("entry")
}

// TestOldWorks: in 2.6.32 who flushes a work waits for the thread that runs it or has it on
// its list, and who flushes a workqueue, for its thread.
func TestOldWorks(t *testing.T) {
	s := newOldScene()
	flusher, first := s.barrier("flusher", "flush_work", "driver_remove")
	second, next := s.barrier("second", "wait_on_work", "__cancel_work_timer", "driver_remove")
	behind, third := s.barrier("behind", "flush_work", "driver_remove")
	all, last := s.barrier("all", "flush_cpu_workqueue", "flush_workqueue", "umount")
	s.ring(s.list.At("worklist"), first, next, s.queued.At("entry"), third, last)
	p := byThread(snapshot(t, s.open(t), lock.Options{}))
	for _, c := range []struct {
		task    *synthetic.Task
		kind    lock.Kind
		at      uint64
		sure    lock.Confidence
		purpose string
	}{{flusher, lock.Work, s.running.Addr, lock.Certain, "slow_fn"}, {second, lock.Work, s.running.Addr, lock.Certain, "slow_fn"},
		{behind, lock.Work, s.queued.Addr, lock.Likely, "next_fn"}, {all, lock.Workqueue, s.wq.Addr, lock.Likely, "kblockd"}} {
		w := p.wait[c.task.PID]
		if w == nil {
			t.Errorf("%s: no wait was found: %+v", c.task.Comm, p.Unexplained)
			continue
		}
		l := p.Locks[w.Lock]
		if l.Kind != c.kind || uint64(l.Addr) != c.at || l.Purpose != c.purpose || w.Methods[0] != lock.ByWaitList || w.Sure != lock.Certain {
			t.Errorf("%s: %+v %+v", c.task.Comm, l, w)
		}
		if h := p.holders(c.at, c.sure); len(h) != 1 || h[s.thread.PID].Method != lock.ByRecord {
			t.Errorf("%s: holders %+v", c.task.Comm, h)
		}
	}
	if !p.Coverage.Complete() {
		t.Errorf("%+v", p.Coverage)
	}
}

// TestOldWorkBroken: a barrier whose list is broken leads to no work that it is not
// behind.
func TestOldWorkBroken(t *testing.T) {
	s := newOldScene()
	flusher, node := s.barrier("flusher", "flush_work", "driver_remove")
	s.ring(s.list.At("worklist"), s.queued.At("entry"), node)
	s.PutUint64(node+8, 0xdead000000000200)
	p := byThread(snapshot(t, s.open(t), lock.Options{}))
	if w := p.wait[flusher.PID]; w != nil && (w.Sure == lock.Certain || p.Locks[w.Lock].Addr != 0) {
		t.Errorf("%+v %+v", w, p.Locks[w.Lock])
	}
	s = newOldScene()
	all, node := s.barrier("all", "flush_cpu_workqueue", "flush_workqueue", "umount")
	s.ring(s.list.At("worklist"), s.queued.At("entry"), node)
	s.PutUint64(s.queued.At("entry")+8, 0xdead000000000200)
	p = byThread(snapshot(t, s.open(t), lock.Options{}))
	if w := p.wait[all.PID]; w != nil && w.Sure == lock.Certain {
		t.Errorf("%+v %+v", w, p.Locks[w.Lock])
	}
}
