package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
)

// oldWorkForm is struct cpu_workqueue_struct, a workqueue's list of works for a processor
// and the one thread that runs them, until 2.6.35 (kernel/workqueue.c).
type oldWorkForm struct {
	ok                                  bool
	worklist, current, wq, thread       uint64
	entry, fn, data                     uint64 // of struct work_struct
	barrierWork, barrierDone, queueName uint64 // of struct wq_barrier, of struct workqueue_struct
}

func (b *builder) oldWorks() *oldWorkForm {
	if b.oldWork != nil {
		return b.oldWork
	}
	f := &oldWorkForm{ok: true}
	get := func(typ string, paths ...string) uint64 {
		off, found := at(typeOf(b.k, typ), paths...)
		f.ok = f.ok && found
		return off
	}
	const perCPU = "struct cpu_workqueue_struct"
	f.worklist, f.current, f.wq, f.thread = get(perCPU, "worklist"), get(perCPU, "current_work"), get(perCPU, "wq"), get(perCPU, "thread")
	f.entry, f.fn, f.data = get("struct work_struct", "entry"), get("struct work_struct", "func"), get("struct work_struct", "data")
	f.barrierWork, f.barrierDone = get("struct wq_barrier", "work"), get("struct wq_barrier", "done")
	f.queueName = get("struct workqueue_struct", "name")
	b.oldWork = f
	return f
}

// oldBarrier finds what the barrier on a task's stack was put behind: its data leads to the
// list of works that it is on.
func (b *builder) oldBarrier(s *stack, f *found) bool {
	form := b.oldWorks()
	barrier := f.addr - form.barrierDone
	work := barrier + form.barrierWork
	if !form.ok || !s.holds(work+form.data, 8) || !s.holds(work+form.entry, 16) || !s.holds(work+form.fn, 8) {
		return false
	}
	const flags = 3 // WORK_STRUCT_FLAG_MASK
	list, barrierFn := s.word(work+form.data)&^flags, s.word(work+form.fn)
	wq, ok := b.uint64At(list + form.wq)
	if !inKernel(list) || !ok || !inKernel(wq) {
		return false
	}
	addr, text := wq, "its barrier is on one of the queue's lists of works"
	if f.kind == Work {
		addr, text, ok = b.oldWorkBefore(list, work+form.entry, barrierFn)
	} else {
		_, _, ok = b.oldWorkBefore(list, work+form.entry, 0)
	}
	if !ok {
		return false
	}
	f.method, f.value, f.wqList, f.addr, f.text = ByWaitList, barrier, list, addr, text
	return true
}

// oldWorkqueueWait finds the workqueue that is flushed, by the barrier or by what the
// function was called with.
func (b *builder) oldWorkqueueWait(s *stack, f *found, i int) {
	if b.oldBarrier(s, f) {
		return
	}
	b.workByArgument(s, f, i)
	if s.frames[i].fn.name == "flush_cpu_workqueue" && f.addr != 0 { // one list of the queue's
		f.addr, _ = b.uint64At(f.addr + b.oldWorks().wq)
	}
}

// oldWorkBefore is the work before a barrier on a list of works: the one that is run where
// nothing but other barriers comes before it. Without the function of barriers, it tells
// whether the list leads to this one.
func (b *builder) oldWorkBefore(list, barrier, barrierFn uint64) (work uint64, text string, ok bool) {
	form := b.oldWorks()
	for node, n := barrier, 0; n < maxQueues; n++ {
		prev, ok := b.uint64At(node + 8)
		if !ok || prev == barrier {
			return 0, "", false
		}
		if next, ok := b.uint64At(prev); !ok || next != node {
			return 0, "", false
		}
		if prev == list+form.worklist {
			work, ok = b.uint64At(list + form.current)
			return work, "its barrier is the next on the list of the thread that runs it", ok && (work != 0 || barrierFn == 0)
		}
		if barrierFn == 0 {
			node = prev
			continue
		}
		if fn, ok := b.uint64At(prev - form.entry + form.fn); ok && b.tracer.IsText(fn) && fn != barrierFn {
			return prev - form.entry, "its barrier comes after it on the list of works", true
		}
		node = prev
	}
	return 0, "", false
}

// oldWorkHolder names the thread that runs a work, or the works before it, or those of a
// workqueue on one processor.
func (b *builder) oldWorkHolder(i int) {
	form := b.oldWorks()
	l := &b.snap.Locks[i]
	if fn, ok := b.uint64At(uint64(l.Addr) + form.fn); ok && l.Kind == Work {
		l.Purpose = b.symbol(fn)
	}
	if name, ok := b.uint64At(uint64(l.Addr) + form.queueName); ok && l.Kind == Workqueue {
		if text, err := b.k.CString(name, 32); err == nil {
			l.Purpose = cstr.Show(text)
		}
	}
	l.NoHolder = "on which list of works it is was not found"
	for list := range b.extra[i].wqLists {
		current, ok1 := b.need64(list+form.current, "a list of works")
		thread, ok2 := b.need64(list+form.thread, "a list of works")
		tk := b.liveTask(thread)
		if !ok1 || !ok2 || tk == nil {
			continue
		}
		l.Held, l.HeldKnown = current != 0, true
		l.State, l.NoHolder = "no worker runs it", "no worker has begun it"
		if current == 0 {
			continue
		}
		name := "a work"
		if fn, ok := b.uint64At(current + form.fn); ok {
			name = "the work " + b.symbol(fn)
		}
		sure, text := Certain, "it runs "+name
		l.State = "a worker runs it"
		if l.Kind == Workqueue {
			sure, text = Likely, fmt.Sprintf("it runs %s of the queue", name)
		} else if current != uint64(l.Addr) {
			sure, text = Likely, fmt.Sprintf("it runs %s before, and is the only one that does for this list", name)
			l.State = "queued behind " + name
		}
		b.hold(Hold{Lock: i, Task: b.task(tk), Method: ByRecord, Sure: sure, Evidence: []Evidence{{Value: kernel.Addr(list), Text: text}}})
		l = &b.snap.Locks[i]
	}
}
