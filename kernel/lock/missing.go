package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/task"
)

// visitAll visits the tasks that were not visited yet: all of them, or those that came to
// light since.
func (b *builder) visitAll() error {
	for ; b.seen < len(b.order); b.seen++ {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		b.visit(b.order[b.seen])
	}
	return nil
}

// liveTask is the live task at an address, nil if there is none. Where the tasks could not
// be listed whole, what looks like one is taken for one.
func (b *builder) liveTask(addr uint64) *task.Task {
	if tk := b.live[addr]; tk != nil || b.whole || !inKernel(addr) || addr&7 != 0 || b.tried[addr] {
		return tk
	}
	b.tried[addr] = true
	tk, err := b.tasks.At(addr)
	if err != nil || !b.looksAlive(tk) {
		return nil
	}
	b.live[addr] = tk
	b.order = append(b.order, tk)
	return tk
}

// listed tells whether a task is on a list of tasks, and not only looks like one.
func (b *builder) listed(tk *task.Task) bool { return !b.tried[tk.Addr] }

// maxPID is PID_MAX_LIMIT (include/linux/threads.h).
const maxPID = 4 << 20

// looksAlive tells whether what was read as a task_struct can be a task that has not
// exited: one that has left its stack.
func (b *builder) looksAlive(tk *task.Task) bool {
	if tk.PID <= 0 || tk.PID > maxPID || tk.TGID <= 0 || tk.TGID > maxPID || tk.Comm == "" || !inKernel(tk.Stack) || tk.Stack%4096 != 0 {
		return false
	}
	switch tk.Letter() {
	case "Z", "X":
		return false
	}
	return tk.SP == 0 || tk.SP > tk.Stack && tk.SP-tk.Stack < b.tracer.StackSize()
}

// gone is the index of an owner that is no live task. reused is the task whose
// task_struct lies there now, nil if there is none.
func (b *builder) gone(addr uint64, reused *task.Task) int {
	if i, ok := b.goneAt[addr]; ok {
		return i
	}
	t := Task{Addr: kernel.Addr(addr), CPU: -1}
	tk, err := b.tasks.At(addr)
	switch {
	case reused != nil:
		t.Gone = fmt.Sprintf("no live task: its task_struct was freed and is now that of %d %s, which started later than others began to wait", reused.PID, reused.Comm)
	case err != nil && !b.whole && inKernel(addr):
		t.Unread, t.Gone = true, "it may be a live task: the tasks could not be listed whole, and this one cannot be read: "+err.Error()
	case err != nil:
		t.Gone = "no live task: " + err.Error()
	case tk.PID > 0 && tk.Comm != "":
		t.PID, t.TGID, t.Comm, t.State = tk.PID, tk.TGID, tk.Comm, tk.Letter()
		t.Gone = "no live task: it is on no list of tasks; what its task_struct says is from before it exited"
	default:
		t.Gone = "no live task: its task_struct was freed"
	}
	b.snap.Tasks = append(b.snap.Tasks, t)
	b.goneAt[addr] = len(b.snap.Tasks) - 1
	return b.goneAt[addr]
}
