package lock_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/lock"
)

// olderSems are the kernels whose percpu_rw_semaphore has a rw_semaphore inside.
func olderSems() []*synthetic.Layout {
	return []*synthetic.Layout{synthetic.EL6(), synthetic.EL7(), synthetic.EL8(), synthetic.V5_4()}
}

// percpuPath are the functions of a wait for the rw_semaphore inside, from that which
// sleeps to the semaphore's own.
func (m *machine) percpuPath(mode lock.Mode, caller string) []string {
	word := string(mode)
	path := []string{"rwsem_down_" + word + "_failed", "call_rwsem_down_" + word + "_failed"}
	if m.Layout.Name == "5.4" {
		path = []string{"rwsem_down_" + word + "_slowpath"}
	}
	switch {
	case mode == lock.Write:
		return append(path, "down_write", "percpu_down_write", caller)
	case m.Layout.Has("percpu_rw_semaphore", "fast_read_ctr"): // until 4.8
		return append(path, "down_read", "percpu_down_read", caller)
	}
	return append(path, "__percpu_down_read", caller)
}

// percpuWait is one more task that waits for the rw_semaphore inside, whose address it
// keeps.
func (m *machine) percpuWait(inner uint64, mode lock.Mode, caller string) (*synthetic.Task, synthetic.Object) {
	t := m.task("waiter")
	room := m.sleepIn(t, m.percpuPath(mode, caller)...)
	m.PutUint64(room+innerRoom-8, inner)
	w := m.ObjectAt("rwsem_waiter", room+0x10)
	w.Set("task", t.Addr)
	switch {
	case w.Has("flags") && mode == lock.Read:
		w.Set("flags", 1)
	case w.Has("flags"):
		w.Set("flags", 2)
	case mode == lock.Read:
		w.Set("type", 1)
	}
	return t, w
}

// TestOlderPercpuSem: readers and further writers that a writer has shut out wait for
// the percpu_rw_semaphore and not for the rw_semaphore in it, and the writer has it.
func TestOlderPercpuSem(t *testing.T) {
	for _, l := range olderSems() {
		t.Run(l.Name, func(t *testing.T) {
			m := newMachine(l, 1)
			obj := m.Var("cgroup_threadgroup_rwsem", "struct percpu_rw_semaphore").Object
			owner := m.sleeper("owner")
			inner := m.ObjectAt("rw_semaphore", obj.At("rw_sem"))
			modes := []lock.Mode{lock.Read, lock.Write, lock.Read}
			var tasks []*synthetic.Task
			var waiters []synthetic.Object
			for i, mode := range modes {
				task, w := m.percpuWait(inner.Addr, mode, []string{"copy_process", "cgroup_attach", "exit_signals"}[i])
				tasks, waiters = append(tasks, task), append(waiters, w)
			}
			m.link(inner, waiters)
			noted := m.own(inner, lock.RWSem, owner, len(waiters))
			p := byThread(snapshot(t, m.open(t), lock.Options{}))
			for i, task := range tasks {
				w := p.wait[task.PID]
				if w == nil {
					t.Fatalf("waiter %d was not found: %+v", i, p.Unexplained)
				}
				got := p.Locks[w.Lock]
				if got.Kind != lock.PercpuRWSem || uint64(got.Addr) != obj.Addr || got.Symbol != "cgroup_threadgroup_rwsem" || w.Mode != modes[i] || w.Position != i || got.Queue != 3 {
					t.Errorf("waiter %d: %+v, %+v", i, got, w)
				}
			}
			if h, ok := p.holders(obj.Addr, lock.Certain)[owner.PID]; ok != noted || noted && h.Mode != lock.Write {
				t.Errorf("%+v, the owner is %d, noted %v", p.Holds, owner.PID, noted)
			}
			if len(p.Locks) != 1 || !p.Coverage.Complete() {
				t.Errorf("%+v, %+v", p.Locks, p.Coverage)
			}
		})
	}
}

// TestOlderPercpuWriter: a writer that has the rw_semaphore inside and waits for readers
// to leave waits for the whole, as do the readers behind it, and is no holder: that would
// be a deadlock.
func TestOlderPercpuWriter(t *testing.T) {
	for _, l := range olderSems() {
		t.Run(l.Name, func(t *testing.T) {
			m := newMachine(l, 1)
			obj := m.Var("cgroup_threadgroup_rwsem", "struct percpu_rw_semaphore").Object
			inner := m.ObjectAt("rw_semaphore", obj.At("rw_sem"))
			reader, waiter := m.percpuWait(inner.Addr, lock.Read, "copy_process")
			m.link(inner, []synthetic.Object{waiter})
			writer := m.task("writer")
			room := m.sleepIn(writer, "percpu_down_write", "cgroup_attach")
			m.PutUint64(room+innerRoom-8, obj.Addr)
			if obj.Has("writer") {
				m.PutUint64(obj.At("writer"), writer.Addr)
			} else {
				m.queueEntry(room+8, obj.At("write_waitq"), "autoremove_wake_function", writer)
			}
			m.own(inner, lock.RWSem, writer, 1)
			p := byThread(snapshot(t, m.open(t), lock.Options{}))
			for task, mode := range map[*synthetic.Task]lock.Mode{reader: lock.Read, writer: lock.Write} {
				w := p.wait[task.PID]
				if w == nil {
					t.Fatalf("%s was not found: %+v", task.Comm, p.Unexplained)
				}
				if got := p.Locks[w.Lock]; got.Kind != lock.PercpuRWSem || uint64(got.Addr) != obj.Addr || w.Mode != mode || w.Position != 0 {
					t.Errorf("%s: %+v, %+v", task.Comm, got, w)
				}
			}
			if len(p.Holds) != 0 || p.Locks[0].NoHolder == "" {
				t.Errorf("%+v, %+v", p.Holds, p.Locks)
			}
		})
	}
}

// TestOlderFreeze: who wants to write to a frozen file system waits for that, by a level
// of s_writers (since 4.2) or by its queue.
func TestOlderFreeze(t *testing.T) {
	for _, l := range olderSems() {
		t.Run(l.Name, func(t *testing.T) {
			m := newMachine(l, 1)
			super := m.SuperBlock("xfs", "dm-3")
			m.Mount(super, nil)
			super.Frozen = 4
			var task *synthetic.Task
			member := "s_writers.wait_unfrozen"
			if !super.Has("s_writers.rw_sem") {
				task = m.task("waiter")
				m.queueEntry(m.sleepIn(task, "__sb_start_write", "mnt_want_write")+8, super.At("s_writers.wait_unfrozen"), "autoremove_wake_function", task)
			} else {
				sem := m.ObjectAt("percpu_rw_semaphore", super.At("s_writers.rw_sem")+uint64(m.Layout.Size("percpu_rw_semaphore")))
				inner := m.ObjectAt("rw_semaphore", sem.At("rw_sem"))
				member = "s_writers.rw_sem[1]"
				var w synthetic.Object
				task, w = m.percpuWait(inner.Addr, lock.Read, "do_page_mkwrite")
				m.link(inner, []synthetic.Object{w})
				m.own(inner, lock.RWSem, m.sleeper("fsfreeze"), 1)
			}
			p := byThread(snapshot(t, m.open(t), lock.Options{}))
			w := p.wait[task.PID]
			if w == nil {
				t.Fatalf("%+v", p.Unexplained)
			}
			got := p.Locks[w.Lock]
			if got.Kind != lock.FrozenFS || got.State != "frozen" || got.Object == nil || got.Object.Member != member || got.Object.Path != "/" || w.Mode != lock.Read {
				t.Errorf("%+v %+v %+v", got, got.Object, w)
			}
			if held := p.holders(uint64(got.Addr), lock.Certain, lock.Likely, lock.Suspected); len(held) != 0 {
				t.Errorf("who froze it is said to hold it: %+v", held)
			}
		})
	}
}
