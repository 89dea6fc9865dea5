package tasks

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/sched"
)

// describeQueues adds the run queues to the report.
func (c *collector) describeQueues(queues []sched.Queue) {
	for i := range queues {
		q := &queues[i]
		if !c.opt.queue(q.CPU) {
			continue
		}
		out := Queue{CPU: q.CPU, Addr: kernel.Addr(q.Addr), Running: q.Running, Switches: q.Switches, IOWait: q.IOWait, Clock: q.Clock,
			Current: c.queued(sched.Entry{Task: q.Current}), Fair: c.entries(q.Fair), RealTime: c.entries(q.RealTime), Deadline: c.entries(q.Deadline),
			RTThrottled: q.RTThrottled, RTRuntime: q.RTRuntime, RTTime: q.RTTime}
		if q.Stopping {
			stopper := c.queued(sched.Entry{Task: q.Stop})
			out.Stopper = &stopper
		}
		c.report.Queues = append(c.report.Queues, out)
	}
}

func (c *collector) entries(list []sched.Entry) []Queued {
	out := make([]Queued, 0, len(list))
	for _, e := range list {
		out = append(out, c.queued(e))
	}
	return out
}

func (c *collector) queued(e sched.Entry) Queued {
	q := Queued{Addr: kernel.Addr(e.Task), Group: kernel.Addr(e.Group), Current: e.Current, Delayed: e.Delayed,
		Vruntime: e.Vruntime, Prio: e.Prio, Deadline: e.Deadline}
	tk := c.byAddr[e.Task]
	if tk == nil {
		var err error
		if tk, err = c.reader.At(e.Task); err != nil {
			c.report.Coverage.Fail(fmt.Errorf("run queue: %w", err))
			return q
		}
	}
	q.PID, q.TGID, q.Comm, q.State = tk.PID, tk.TGID, tk.Comm, tk.Letter()
	m, err := c.details.More(tk)
	if err != nil {
		c.report.Coverage.Fail(fmt.Errorf("run queue: %w", err))
	} else {
		q.Prio = int(m.Prio)
	}
	return q
}

// groups adds the groups with a quota to the report.
func (c *collector) groups() {
	if c.sched == nil {
		return
	}
	c.report.Groups = []Group{}
	for g, err := range c.sched.Groups() {
		if err != nil {
			c.report.Coverage.Fail(err)
		}
		if g != nil {
			c.report.Groups = append(c.report.Groups, c.group(g))
		}
	}
}

func (c *collector) group(g *sched.Group) Group {
	out := Group{Addr: kernel.Addr(g.Addr), Limited: g.Limited, Quota: g.Quota, Period: g.Period, Burst: g.Burst, Left: g.Left,
		Periods: g.Periods, Throttles: g.Throttles, Time: g.Time, Queues: []GroupQueue{}}
	if g.Cgroup != 0 {
		var err error
		if out.Path, err = c.details.CgroupPath(g.Cgroup); err != nil {
			c.report.Coverage.Fail(err)
		}
	}
	for i := range g.Queues {
		q := &g.Queues[i]
		out.Throttled = out.Throttled || q.Throttled || q.Depth > 0
		if !c.opt.queue(q.CPU) {
			continue
		}
		out.Queues = append(out.Queues, GroupQueue{CPU: q.CPU, Addr: kernel.Addr(q.Addr), Throttled: q.Throttled, Depth: q.Depth,
			Remaining: q.Remaining, Expires: q.Expires, Ago: c.clocks.ago(q.Since), Tasks: c.entries(q.Tasks)})
	}
	return out
}
