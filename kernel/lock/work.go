package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/list"
)

// workForm is what of workqueues tells who runs what (kernel/workqueue.c,
// kernel/workqueue_internal.h).
type workForm struct {
	ok                                      bool
	entry, fn, data                         uint64 // of struct work_struct
	barrierDone, barrierWork                uint64 // of struct wq_barrier
	flusherDone                             uint64 // of struct wq_flusher
	flusherList                             uint64
	wqList, wqPwqs, wqName                  uint64 // of struct workqueue_struct
	wqFirst, wqQueue, wqOverflow            uint64
	pwqNode, pwqPool, pwqWQ                 uint64 // of struct pool_workqueue
	poolWorkers, poolBusy, buckets          uint64 // of struct worker_pool
	busyOnly                                bool   // its workers are known by what they run, until 3.15
	current, currentFn, pwq, scheduled, tsk uint64 // of struct worker
	node, busy                              uint64
}

// worker is a kernel thread that runs works.
type worker struct {
	addr      uint64
	task      uint64
	work      uint64 // that it runs
	fn        uint64
	pwq       uint64 // the pool_workqueue, and the workqueue, that it is from
	wq        uint64
	scheduled uint64 // the head of those that it runs next
}

func (b *builder) readWorkForm() workForm {
	var f workForm
	ok := true
	get := func(typ string, paths ...string) uint64 {
		off, found := at(typeOf(b.k, typ), paths...)
		ok = ok && found
		return off
	}
	f.entry, f.fn = get("struct work_struct", "entry"), get("struct work_struct", "func")
	f.data = get("struct work_struct", "data")
	f.barrierDone, f.barrierWork = get("struct wq_barrier", "done"), get("struct wq_barrier", "work")
	f.wqList, f.wqPwqs = get("struct workqueue_struct", "list"), get("struct workqueue_struct", "pwqs")
	f.wqName = get("struct workqueue_struct", "name")
	f.pwqNode, f.pwqPool, f.pwqWQ = get("struct pool_workqueue", "pwqs_node"), get("struct pool_workqueue", "pool"), get("struct pool_workqueue", "wq")
	f.current, f.currentFn = get("struct worker", "current_work"), get("struct worker", "current_func")
	f.pwq, f.scheduled = get("struct worker", "current_pwq"), get("struct worker", "scheduled")
	f.tsk = get("struct worker", "task")
	pool, w := typeOf(b.k, "struct worker_pool"), typeOf(b.k, "struct worker")
	var listed, linked bool
	f.poolWorkers, listed = at(pool, "workers")
	f.node, linked = at(w, "node")
	if f.busyOnly = !listed || !linked; f.busyOnly {
		f.poolBusy, f.busy = get("struct worker_pool", "busy_hash"), get("struct worker", "hentry")
		if ok {
			m, _ := pool.Field("busy_hash") // it has it
			f.buckets = uint64(min(max(m.Type.Strip().Count, 0), 1024))
		}
	}
	f.ok = ok
	f.flusherDone, _ = at(typeOf(b.k, "struct wq_flusher"), "done")
	f.flusherList, _ = at(typeOf(b.k, "struct wq_flusher"), "list")
	f.wqFirst, _ = at(typeOf(b.k, "struct workqueue_struct"), "first_flusher")
	f.wqQueue, _ = at(typeOf(b.k, "struct workqueue_struct"), "flusher_queue")
	f.wqOverflow, _ = at(typeOf(b.k, "struct workqueue_struct"), "flusher_overflow")
	return f
}

// maxQueues bounds workqueues, their pools and the workers of each.
const maxQueues = 1 << 20

// workers are all that belong to a pool that some workqueue uses.
func (b *builder) allWorkers() *workForm {
	if b.works != nil {
		return b.works
	}
	f := b.readWorkForm()
	b.works = &f
	head, err := b.k.Symbol("workqueues")
	if !f.ok || err != nil {
		f.ok = false
		return b.works
	}
	pools := map[uint64]bool{}
	for node, err := range list.Circular(b.k, head, maxQueues) {
		if err != nil {
			b.fail(fmt.Errorf("workqueues: %w", err))
			break
		}
		wq := node - f.wqList
		b.queues = append(b.queues, wq)
		for node, err := range list.Circular(b.k, wq+f.wqPwqs, maxQueues) {
			if err != nil {
				b.fail(fmt.Errorf("pools of the workqueue at %#x: %w", wq, err))
				break
			}
			pool, ok := b.uint64At(node - f.pwqNode + f.pwqPool)
			if ok && !pools[pool] {
				pools[pool] = true
				b.poolWorkers(&f, pool)
			}
		}
	}
	return b.works
}

func (b *builder) poolWorkers(f *workForm, pool uint64) {
	if f.busyOnly {
		b.busyWorkers(f, pool)
		return
	}
	for node, err := range list.Circular(b.k, pool+f.poolWorkers, maxQueues) {
		if err != nil {
			b.fail(fmt.Errorf("workers of the pool at %#x: %w", pool, err))
			return
		}
		b.addWorker(f, node-f.node)
	}
}

// busyWorkers are the workers of a pool that run something, by the hash of that.
func (b *builder) busyWorkers(f *workForm, pool uint64) {
	for i := range f.buckets {
		for node, err := range list.Hlist(b.k, pool+f.poolBusy+8*i, maxQueues) {
			if err != nil {
				b.fail(fmt.Errorf("busy workers of the pool at %#x: %w", pool, err))
				break
			}
			b.addWorker(f, node-f.busy)
		}
	}
}

func (b *builder) addWorker(f *workForm, addr uint64) {
	w := worker{addr: addr}
	w.scheduled = w.addr + f.scheduled
	w.task, _ = b.need64(w.addr+f.tsk, "a worker")
	w.work, _ = b.need64(w.addr+f.current, "a worker")
	w.fn, _ = b.uint64At(w.addr + f.currentFn)
	if w.pwq, _ = b.uint64At(w.addr + f.pwq); w.pwq != 0 {
		w.wq, _ = b.uint64At(w.pwq + f.pwqWQ)
	}
	b.workerList = append(b.workerList, w)
}

// workWait finds the work that a flush waits for: the barrier on the task's stack
// is on the list of the worker that runs it, or behind it on a list of works.
func (b *builder) workWait(s *stack, f *found, i int) {
	form := b.allWorkers()
	done := f.addr
	f.kind, f.frame, f.ring, f.pos = Work, i, nil, -1
	if !form.ok {
		if !b.oldBarrier(s, f) {
			b.workByArgument(s, f, i)
		}
		return
	}
	barrier := done - form.barrierDone
	barrierFn := uint64(0)
	if s.holds(barrier+form.barrierWork+form.fn, 8) {
		barrierFn = s.word(barrier + form.barrierWork + form.fn)
	}
	if barrierFn == 0 {
		b.workByArgument(s, f, i)
		return
	}
	node := barrier + form.barrierWork + form.entry
	for first, n := node, 0; n < maxQueues; n++ {
		prev, ok := b.uint64At(node + 8)
		if !ok || prev == first {
			break
		}
		if next, ok := b.uint64At(prev); !ok || next != node {
			break
		}
		for w := range b.workerList {
			if b.workerList[w].scheduled == prev {
				f.addr, f.method, f.value = b.workerList[w].work, ByWaitList, barrier
				f.text = "its barrier is on the list of the worker that runs it"
				return
			}
		}
		work := prev - form.entry
		if fn, ok := b.uint64At(work + form.fn); ok && b.tracer.IsText(fn) && fn != barrierFn {
			f.addr, f.method, f.value = work, ByWaitList, barrier
			f.text = "its barrier comes after it on the list of works"
			return
		}
		node = prev
	}
	b.workByArgument(s, f, i)
}

func (b *builder) workByArgument(s *stack, f *found, i int) {
	f.addr, f.sure, f.method = 0, Likely, ByArgument
	if v, ok := b.argumentOf(s.tk, i); ok {
		f.addr = v
	}
}

// workqueueWait finds the workqueue that is flushed: one of its flushers is the one
// on the task's stack.
func (b *builder) workqueueWait(s *stack, f *found, i int) {
	form := b.allWorkers()
	flusher := f.addr - form.flusherDone
	f.kind, f.frame, f.ring, f.pos = Workqueue, i, nil, -1
	if !form.ok && b.oldWorks().ok {
		b.oldWorkqueueWait(s, f, i)
		return
	}
	for _, wq := range b.queues {
		if first, ok := b.uint64At(wq + form.wqFirst); ok && first == flusher {
			f.addr, f.method = wq, ByWaitList
			return
		}
		for _, head := range []uint64{wq + form.wqQueue, wq + form.wqOverflow} {
			for node, err := range list.Circular(b.k, head, maxWaiters) {
				if err == nil && node-form.flusherList == flusher {
					f.addr, f.method = wq, ByWaitList
					return
				}
			}
		}
	}
	b.workByArgument(s, f, i)
}

// workHolders names the workers that run a work, or works of a workqueue.
func (b *builder) workHolders(i int) {
	l := &b.snap.Locks[i]
	form := b.allWorkers()
	if !form.ok && b.oldWorks().ok {
		b.oldWorkHolder(i)
		return
	}
	if !form.ok {
		l.NoHolder = "the kernel's workqueues are of a form that is not known"
		return
	}
	if fn, ok := b.uint64At(uint64(l.Addr) + form.fn); ok && l.Kind == Work {
		l.Purpose = b.symbol(fn)
	}
	if l.Kind == Workqueue {
		if name, err := b.k.CString(uint64(l.Addr)+form.wqName, 32); err == nil {
			l.Purpose = cstr.Show(name)
		}
	}
	none := true
	for _, w := range b.workerList {
		tk := b.liveTask(w.task)
		if tk == nil || w.work == 0 || l.Kind == Work && w.work != uint64(l.Addr) || l.Kind == Workqueue && w.wq != uint64(l.Addr) {
			continue
		}
		sure, text := Certain, "it runs the work "+b.symbol(w.fn)
		if l.Kind == Workqueue {
			sure, text = Likely, "it runs a work of the queue, "+b.symbol(w.fn)
		}
		none = false
		b.hold(Hold{Lock: i, Task: b.task(tk), Method: ByRecord, Sure: sure,
			Evidence: []Evidence{{Function: b.symbol(w.fn), Value: kernel.Addr(w.addr), Text: text}}})
	}
	l = &b.snap.Locks[i]
	l.Held, l.HeldKnown = !none, true
	l.State = "a worker runs it"
	if none {
		l.State = "no worker runs it"
		l.NoHolder = "no worker has begun it"
		if l.Kind == Work {
			b.queuedBehind(i)
		}
	}
}

// The lowest bits of work_struct.data (enum in include/linux/workqueue.h), with the
// address of a pool_workqueue above them while the work is queued.
const (
	workInactive = 1 << 1 // its queue runs as many as it may; before 5.15 delayed
	workQueued   = 1 << 2
)

// queuedBehind names the workers that a queued work waits for, since its queue runs no
// more at a time than it does.
func (b *builder) queuedBehind(i int) {
	addr := uint64(b.snap.Locks[i].Addr)
	data, ok := b.uint64At(addr + b.works.data)
	if !ok || data&workQueued == 0 {
		return
	}
	for _, w := range b.workerList {
		tk := b.live[w.task]
		// There are 8 bits of flags, and more since 6.10 and for debugging.
		if tk == nil || w.pwq == 0 || w.work == 0 || w.pwq != data&^0xff && w.pwq != data&^0x1ff && w.pwq != data&^0x3ff {
			continue
		}
		l := &b.snap.Locks[i]
		l.State = "queued" + b.queueName(w.wq)
		if data&workInactive == 0 {
			continue // it only waits for a free worker
		}
		l.State += ", which runs as many as it may"
		b.hold(Hold{Lock: i, Task: b.task(tk), Method: ByRecord, Sure: Likely, Evidence: []Evidence{{Function: b.symbol(w.fn),
			Value: kernel.Addr(data), Text: "the queue runs no more works at a time, and it runs one of them, " + b.symbol(w.fn)}}})
	}
}

// queueName is the name of a workqueue, in words.
func (b *builder) queueName(wq uint64) string {
	name, err := b.k.CString(wq+b.works.wqName, 32)
	if err != nil || wq == 0 {
		return ""
	}
	return fmt.Sprintf(" on the workqueue \"%s\"", cstr.Show(name))
}
