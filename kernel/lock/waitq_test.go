package lock_test

import (
	"testing"

	"github.com/kmortem/mortem/fixtures/synthetic"
	"github.com/kmortem/mortem/kernel/lock"
)

// TestEntryWakesByAFunction: what is linked as an entry of a wait queue is, and leads to
// its task, is none where no function begins at its function's address. A timer on the
// stack of a task that sleeps for a time looks like that, by chance.
func TestEntryWakesByAFunction(t *testing.T) {
	for _, offset := range []uint64{0, 8} {
		m := newMachine(synthetic.V6_12(), 1)
		queue := m.Var("planted_queue", "struct wait_queue_head")
		task := m.task("waiter")
		entry := m.sleepIn(task, "do_nanosleep", "hrtimer_nanosleep") + 8
		m.queueEntry(entry, queue.Addr, "default_wake_function", task)
		m.ObjectAt("wait_queue_entry", entry).Set("func", m.made["default_wake_function"].Addr+offset)
		p := byThread(snapshot(t, m.open(t), lock.Options{}))
		w := p.wait[task.PID]
		if found := w != nil && uint64(p.Locks[w.Lock].Addr) == queue.Addr; found != (offset == 0) {
			t.Errorf("a wake function's address %d bytes off: %+v", offset, w)
		}
	}
}

// sleeperTypes are what a task has on its stack that sleeps for a time.
const sleeperTypes = `struct timerqueue_node 32
0 24 node struct rb_node
24 8 expires long long
struct hrtimer 64
0 32 node struct timerqueue_node
40 8 function void *
struct hrtimer_sleeper 72
0 64 timer struct hrtimer
64 8 task struct task_struct *
`

// TestTimerIsNoEntry: the node of a timer, which others lead back to, is none of a
// wait queue, whatever lies before it.
func TestTimerIsNoEntry(t *testing.T) {
	for _, timer := range []bool{false, true} {
		m := newMachine(synthetic.V6_12().Extend(sleeperTypes), 1)
		queue := m.Var("planted_queue", "struct wait_queue_head")
		task := m.task("waiter")
		entry := m.sleepIn(task, "do_nanosleep", "hrtimer_nanosleep") + 8
		m.queueEntry(entry, queue.Addr, "default_wake_function", task)
		wakeup := m.NewCode("hrtimer_wakeup", 16).Enter(0).Leave()
		if timer {
			m.ObjectAt("hrtimer", m.ObjectAt("wait_queue_entry", entry).At("entry")).Set("function", wakeup.Addr)
		}
		p := byThread(snapshot(t, m.open(t), lock.Options{}))
		w := p.wait[task.PID]
		if found := w != nil && uint64(p.Locks[w.Lock].Addr) == queue.Addr; found == timer {
			t.Errorf("a timer there: %v: %+v", timer, w)
		}
	}
}
