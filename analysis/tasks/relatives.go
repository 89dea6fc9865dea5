package tasks

import "github.com/kmortem/mortem/kernel/task"

// relatives adds to the chosen tasks those that Options.Threads, Parents and Children
// ask for.
func (c *collector) relatives(chosen map[uint64]bool) {
	first := map[int32]bool{} // processes of those that were chosen by themselves
	for _, tk := range c.all {
		if chosen[tk.Addr] {
			first[tk.TGID] = tk.PID != 0
		}
	}
	for _, tk := range c.all {
		switch {
		case c.opt.Threads && first[tk.TGID]:
			chosen[tk.Addr] = true
		case c.opt.Children && tk.PID == tk.TGID && tk.PID != 0:
			if p := c.parentOf(tk); p != nil && first[p.TGID] {
				chosen[tk.Addr] = true
			}
		}
	}
	if !c.opt.Parents {
		return
	}
	for _, tk := range c.all {
		if !first[tk.TGID] {
			continue
		}
		for p, n := c.parentOf(tk), 0; p != nil && n < len(c.all); p, n = c.parentOf(p), n+1 {
			if chosen[p.Addr] && p.TGID != tk.TGID && !first[p.TGID] {
				break // and so are its parents
			}
			chosen[p.Addr] = true
		}
	}
}

// parentOf is the first thread of the process that a task's parent is of, nil for the first
// task of all, and where that is not known, which is told when the task is described.
func (c *collector) parentOf(tk *task.Task) *task.Task {
	m, err := c.details.More(tk)
	if err != nil || m.Parent == 0 || m.Parent == tk.Addr {
		return nil
	}
	p := c.byAddr[m.Parent]
	if p == nil || p.PID == p.TGID {
		return p
	}
	if pm, err := c.details.More(p); err == nil && c.byAddr[pm.Leader] != nil {
		return c.byAddr[pm.Leader] // a thread of it has forked
	}
	return p
}
