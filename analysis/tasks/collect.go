package tasks

import (
	"context"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/sched"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/vfs"
)

// collector makes a report.
type collector struct {
	k       *kernel.Kernel
	fs      *vfs.FS
	opt     chosen
	reader  *task.Reader
	details *task.Details
	sched   *sched.Reader // nil where the run queues cannot be read

	all     []*task.Task // all tasks, idle ones first
	byAddr  map[uint64]*task.Task
	running map[uint64]bool
	idle    map[uint64]bool
	cpus    []int // online
	clocks  clocks
	memory  map[uint64]*task.Memory // by the address of the mm_struct: threads share them
	report  *Report
}

// Analyze reads the tasks that the options choose. The error wraps
// kernel.ErrNotFound where the kernel lacks what it needs, names an order that
// there is not, or is that of ctx; what could not be read is in the report's
// coverage.
func Analyze(ctx context.Context, fs *vfs.FS, opt Options) (*Report, error) {
	k := fs.Kernel()
	c := &collector{k: k, fs: fs, opt: choose(&opt), byAddr: map[uint64]*task.Task{}, running: map[uint64]bool{}, idle: map[uint64]bool{},
		memory: map[uint64]*task.Memory{},
		report: &Report{Tasks: []Task{}, Differences: []Difference{}, Coverage: k.NewCoverage()}}
	c.report.MemoryTotal, _ = k.Managed() // 0 where it is not known
	var err error
	if c.reader, err = task.New(k); err != nil {
		return nil, err
	}
	if c.details, err = task.NewDetails(c.reader, fs); err != nil {
		return nil, err
	}
	if c.sched, err = sched.New(c.reader); err != nil {
		c.report.Coverage.Fail(err)
	}
	if err := sortTasks(nil, opt.Sort); err != nil {
		return nil, err
	}
	queues := c.queues()
	c.find()
	if err := c.describe(ctx); err != nil {
		return nil, err
	}
	c.report.Unknown = c.unknown()
	if opt.Queues {
		c.describeQueues(queues)
		c.groups()
	}
	return c.report, sortTasks(c.report.Tasks, opt.Sort)
}

// queues reads the run queues: who runs, who idles, and what time it is.
func (c *collector) queues() []sched.Queue {
	if c.sched == nil {
		return nil
	}
	queues, errs := c.sched.Queues()
	for _, err := range errs {
		c.report.Coverage.Fail(err)
	}
	for i := range queues {
		q := &queues[i]
		c.cpus = append(c.cpus, q.CPU)
		c.running[q.Current], c.idle[q.Idle] = true, true
		c.clocks.add(q)
	}
	return queues
}

// find finds all tasks: the idle ones by the run queues, the others by the list of
// tasks and by the pid structures.
func (c *collector) find() {
	for idle := range c.idle {
		if tk, err := c.reader.At(idle); err != nil {
			c.report.Coverage.Fail(err)
		} else {
			c.add(tk)
		}
	}
	listed := map[uint64]bool{}
	for tk, err := range c.reader.All() {
		if err != nil {
			c.report.Coverage.Fail(err)
			continue
		}
		listed[tk.Addr] = true
		c.add(tk)
	}
	numbered, failed := 0, false
	for tk, err := range c.reader.ByPID() {
		if err != nil {
			failed = true
			c.report.Coverage.Fail(fmt.Errorf("pid structures: %w", err))
			continue
		}
		numbered++
		if listed[tk.Addr] {
			delete(listed, tk.Addr)
			continue
		}
		c.differ(tk, "pid structures")
		c.add(tk)
	}
	if numbered == 0 && failed {
		return // there is nothing to compare with
	}
	for addr := range listed {
		c.differ(c.byAddr[addr], "task list")
	}
}

func (c *collector) add(tk *task.Task) {
	if c.byAddr[tk.Addr] == nil {
		c.byAddr[tk.Addr] = tk
		c.all = append(c.all, tk)
	}
}

// maxDifferences bounds the list of what only one way leads to.
const maxDifferences = 1000

func (c *collector) differ(tk *task.Task, only string) {
	if len(c.report.Differences) < maxDifferences {
		c.report.Differences = append(c.report.Differences, Difference{kernel.Addr(tk.Addr), tk.PID, tk.Comm, only})
	}
}

// describe adds the chosen tasks to the report.
func (c *collector) describe(ctx context.Context) error {
	c.report.Searched = uint64(len(c.all))
	chosen := map[uint64]bool{}
	for _, tk := range c.all {
		if c.opt.fits(tk, c.running[tk.Addr]) {
			chosen[tk.Addr] = true
		}
	}
	c.relatives(chosen)
	for _, tk := range c.all {
		if err := ctx.Err(); err != nil {
			return err
		}
		if chosen[tk.Addr] {
			c.report.Tasks = append(c.report.Tasks, c.task(tk))
		}
	}
	c.report.Selected = uint64(len(c.report.Tasks))
	return nil
}

// clocks are the clocks of the run queues.
type clocks struct {
	now  uint64         // the latest of them: those of idle processors stand still
	task map[int]uint64 // by processor: how far clock_task is behind the clock
}

func (c *clocks) add(q *sched.Queue) {
	if c.task == nil {
		c.task = map[int]uint64{}
	}
	c.now = max(c.now, q.Clock)
	c.task[q.CPU] = q.Clock - q.ClockTask
}

// ago is how long before the dump a clock stood at a time, nil for 0, for a time
// that is yet to come, and where the clocks are not known.
func (c *clocks) ago(at uint64) *uint64 {
	if at == 0 || c.now == 0 || at > c.now+1e9 {
		return nil
	}
	d := uint64(0)
	if at < c.now {
		d = c.now - at
	}
	return &d
}
