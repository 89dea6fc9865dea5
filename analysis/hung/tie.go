package hung

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/printk"
	"github.com/kmortem/mortem/kernel/task"
)

// Tied is what became of the task that a message is about.
type Tied struct {
	Task kernel.Addr `json:"task,omitempty"` // virtual address of the task_struct, 0 if there is none
	// Now is how it was when the dump was taken: "still blocked", "blocked
	// again", "gone", "runs on CPU 3", …
	Now string `json:"now"`
}

// readLog reads the messages. User space can write to the log too, with a facility
// of its own: its lines are not the kernel's.
func (a *analyzer) readLog() {
	log, err := printk.OpenKernel(a.k)
	if err != nil {
		a.r.LogError = err.Error()
		return
	}
	var p parser
	var last *printk.Record
	flush := func() {
		if last == nil {
			return
		}
		var at *uint64
		if last.Timed {
			ns := uint64(last.Time)
			at = &ns
		}
		for line := range last.Lines() {
			p.line(last.Seq, at, line)
		}
		last = nil
	}
	for r, err := range log.Records() {
		if err != nil {
			a.r.LogError = err.Error()
			a.r.Coverage.Fail(fmt.Errorf("log: %w", err))
			continue
		}
		if r.Timed {
			a.now = max(a.now, uint64(r.Time))
		}
		if r.Facility > printk.FacilityKern {
			continue
		}
		if r.Continues && last != nil && len(last.Text)+len(r.Text) < longestLine {
			last.Text = append(last.Text[:len(last.Text):len(last.Text)], r.Text...)
			continue
		}
		flush()
		last = &r
	}
	flush()
	a.r.Messages = append(a.r.Messages, p.list...)
}

// longestLine bounds a line that is put together from pieces.
const longestLine = 64 << 10

// tie finds the tasks and processors that the messages are about. Of whole lists of tasks
// one that is not found is gone.
func (a *analyzer) tie(byPID map[int32]*task.Task, whole bool) {
	inTasks := map[kernel.Addr]int{}
	for i := range a.r.Tasks {
		inTasks[a.r.Tasks[i].Addr] = i
	}
	onCPU := map[kernel.Addr]int{}
	byCPU := map[int]int{}
	for i := range a.r.CPUs {
		byCPU[a.r.CPUs[i].Number] = i
		onCPU[a.r.CPUs[i].Task] = a.r.CPUs[i].Number
	}
	for i := range a.r.Messages {
		m := &a.r.Messages[i]
		for _, cpu := range m.CPUs {
			if c, ok := byCPU[cpu]; ok {
				a.r.CPUs[c].Messages = append(a.r.CPUs[c].Messages, i)
			}
		}
		if m.Subject == nil {
			continue
		}
		tk := byPID[m.Subject.PID]
		switch {
		case tk == nil && !whole:
			m.Tied = &Tied{Now: "not found: the tasks could not be listed whole"}
		case tk == nil:
			m.Tied = &Tied{Now: "gone"}
		case tk.Comm != m.Subject.Comm:
			m.Tied = &Tied{Now: fmt.Sprintf("gone, or renamed: the number is that of \"%s\"", tk.Comm)}
		default:
			addr := kernel.Addr(tk.Addr)
			m.Tied = &Tied{Task: addr, Now: tk.StateName()}
			if cpu, ok := onCPU[addr]; ok {
				m.Tied.Now = fmt.Sprintf("runs on CPU %d", cpu)
			}
			if t, ok := inTasks[addr]; ok {
				a.r.Tasks[t].Messages = append(a.r.Tasks[t].Messages, i)
				m.Tied.Now = a.stillBlocked(&a.r.Tasks[t], m)
			}
		}
	}
}

// stillBlocked tells whether a task that is blocked was so when a message came.
func (a *analyzer) stillBlocked(t *Task, m *Message) string {
	if t.Blocked == nil || m.Time == nil || a.now == 0 {
		return "blocked"
	}
	if *t.Blocked+*m.Time >= a.now {
		return "still blocked"
	}
	return "blocked again"
}
