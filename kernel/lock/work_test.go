package lock_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/lock"
)

// What a flusher has on its stack, and the workqueues of 3.10 by its sources: a pool has
// no list of its workers yet.
const (
	flushers = `
struct wq_barrier 64
0 32 work struct work_struct
32 32 done struct completion
struct wq_flusher 56
0 16 list struct list_head
16 4 flush_color int
24 32 done struct completion
`
	workers3 = `
struct worker 128
0 16 hentry struct hlist_node
16 8 current_work struct work_struct *
24 8 current_func void *
32 8 current_pwq struct pool_workqueue *
48 16 scheduled struct list_head
64 8 task struct task_struct *
72 8 pool struct worker_pool *
struct worker_pool 960
224 512 busy_hash struct hlist_head [64]
struct pool_workqueue 256
0 8 pool struct worker_pool *
8 8 wq struct workqueue_struct *
92 4 nr_active int
96 4 max_active int
104 16 delayed_works struct list_head
120 16 pwqs_node struct list_head
struct workqueue_struct 256
0 16 pwqs struct list_head
16 16 list struct list_head
88 8 first_flusher struct wq_flusher *
96 16 flusher_queue struct list_head
112 16 flusher_overflow struct list_head
200 24 name char [24]
`
)

// ring links what lies behind a list's head.
func (m *machine) ring(nodes ...uint64) {
	for i, n := range nodes {
		next := nodes[(i+1)%len(nodes)]
		m.PutUint64(n, next)
		m.PutUint64(next+8, n)
	}
}

// TestWorks: who flushes a work waits for the worker that runs it, or for those that its
// queue runs before it; who flushes a workqueue, for all of them.
func TestWorks(t *testing.T) {
	for _, c := range []struct {
		layout *synthetic.Layout
		forms  string
	}{{synthetic.EL7(), workers3 + flushers}, {synthetic.V5_10(), flushers}, {synthetic.V6_1(), flushers}, {synthetic.V6_12(), flushers}, {synthetic.V7(), flushers}} {
		t.Run(c.layout.Name, func(t *testing.T) { checkWorks(t, newMachine(c.layout.Extend(c.forms), 1)) })
	}
}

// workScene is a workqueue that runs one work at a time.
type workScene struct {
	*machine
	wq, pwq, worker, running, queued synthetic.Object
	kworker                          *synthetic.Task
	barrierFn                        uint64
}

func newWorkScene(m *machine) *workScene {
	s := &workScene{machine: m, wq: m.Alloc("workqueue_struct"), worker: m.Alloc("worker"), running: m.Alloc("work_struct"), queued: m.Alloc("work_struct")}
	slow, next := m.NewCode("slow_fn", 16).Enter(0).Leave(), m.NewCode("next_fn", 16).Enter(0).Leave()
	s.barrierFn = m.NewCode("wq_barrier_func", 16).Enter(0).Leave().Addr
	pool := m.Alloc("worker_pool")
	s.pwq = m.ObjectAt("pool_workqueue", m.Virt(m.AllocPages(0))) // it is aligned
	m.ring(m.Var("workqueues", "struct list_head").Addr, s.wq.At("list"))
	m.ring(s.wq.At("pwqs"), s.pwq.At("pwqs_node"))
	m.ring(s.wq.At("flusher_overflow"))
	s.pwq.Set("pool", pool.Addr).Set("wq", s.wq.Addr)
	m.Write(s.wq.At("name"), []byte("writeback\x00"))
	s.kworker = m.sleeper("kworker/0:1")
	s.worker.Set("task", s.kworker.Addr).Set("current_work", s.running.Addr).Set("current_func", slow.Addr).Set("current_pwq", s.pwq.Addr)
	if pool.Has("workers") {
		m.ring(pool.At("workers"), s.worker.At("node"))
	} else {
		bucket := pool.At("busy_hash") + 8*17
		m.PutUint64(bucket, s.worker.At("hentry"))
		m.PutUint64(s.worker.At("hentry")+8, bucket)
	}
	s.running.Set("func", slow.Addr)
	s.queued.Set("func", next.Addr).Set("data.counter", s.pwq.Addr|1|2|4)
	m.PutUint64(s.running.At("entry"), s.running.At("entry"))
	m.PutUint64(s.running.At("entry")+8, s.running.At("entry"))
	return s
}

// barrier is one who flushes a work, and the node of its barrier.
func (s *workScene) barrier(comm string) (*synthetic.Task, uint64) {
	t, done := s.completesAt(comm, "flush_work", "driver_remove")
	b := s.ObjectAt("wq_barrier", done-s.Layout.Offset("wq_barrier", "done"))
	work := s.ObjectAt("work_struct", b.At("work"))
	work.Set("func", s.barrierFn)
	return t, work.At("entry")
}

func checkWorks(t *testing.T, m *machine) {
	s := newWorkScene(m)
	flusher, node := s.barrier("flusher")
	second, other := s.barrier("second")
	m.ring(s.worker.At("scheduled"), node, other)
	behind, node := s.barrier("behind")
	inactive := "inactive_works"
	if !s.pwq.Has(inactive) { // before 5.15
		inactive = "delayed_works"
	}
	m.ring(s.pwq.At(inactive), s.queued.At("entry"), node)
	first, done := m.completesAt("first", "flush_workqueue", "umount")
	s.wq.Set("first_flusher", done-m.Layout.Offset("wq_flusher", "done"))
	later, done := m.completesAt("later", "flush_workqueue", "umount")
	m.ring(s.wq.At("flusher_queue"), done-m.Layout.Offset("wq_flusher", "done"))
	p := byThread(snapshot(t, m.open(t), lock.Options{}))
	for _, c := range []struct {
		task    *synthetic.Task
		kind    lock.Kind
		at      uint64
		sure    lock.Confidence
		purpose string
	}{{flusher, lock.Work, s.running.Addr, lock.Certain, "slow_fn"}, {second, lock.Work, s.running.Addr, lock.Certain, "slow_fn"},
		{behind, lock.Work, s.queued.Addr, lock.Likely, "next_fn"}, {first, lock.Workqueue, s.wq.Addr, lock.Likely, "writeback"},
		{later, lock.Workqueue, s.wq.Addr, lock.Likely, "writeback"}} {
		w := p.wait[c.task.PID]
		if w == nil {
			t.Errorf("%s: no wait was found: %+v", c.task.Comm, p.Unexplained)
			continue
		}
		l := p.Locks[w.Lock]
		if l.Kind != c.kind || uint64(l.Addr) != c.at || l.Purpose != c.purpose || w.Methods[0] != lock.ByWaitList {
			t.Errorf("%s: %+v %+v", c.task.Comm, l, w)
		}
		if h := p.holders(c.at, c.sure); len(h) != 1 || h[s.kworker.PID].Method != lock.ByRecord {
			t.Errorf("%s: holders %+v", c.task.Comm, h)
		}
	}
	if !p.Coverage.Complete() {
		t.Errorf("%+v", p.Coverage)
	}
}
