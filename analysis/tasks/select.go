package tasks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/kmortem/mortem/kernel/task"
)

// Options choose tasks, and say what to tell of them. A task is chosen if it is one
// of PIDs, Addrs or Comms, where any are given, and fits the rest.
type Options struct {
	PIDs    []int32
	Addrs   []uint64
	Comms   []string
	States  []string // letters
	CPUs    []int    // where it is or last was
	Running bool     // only what a processor had
	Kernel  bool     // only kernel threads
	User    bool     // only others
	Leaders bool     // only the first thread of each process
	// Threads, Parents and Children add to those chosen: all threads of their
	// processes; their parents up to the first task; the processes that are children of
	// theirs.
	Threads, Parents, Children bool

	Sort string // one of Sorts; empty for "pid"

	Long   bool // Sched, Memory, Identity, Signals, Place, Program.Args
	Files  bool
	Mounts bool // Task.Mounts
	Env    bool // Program.Env
	Queues bool // the run queues, of CPUs where any are given, and the throttled groups
}

// chosen is what Options say of single tasks, and which of them there are.
type chosen struct {
	*Options
	tasks task.Sought
}

func choose(o *Options) chosen {
	return chosen{Options: o, tasks: task.Sought{PIDs: o.PIDs, Addrs: o.Addrs, Comms: o.Comms}}
}

// fits tells whether a task is chosen.
func (o *chosen) fits(t *task.Task, running bool) bool {
	single := o.tasks.Has(t)
	switch {
	case o.Running && !running,
		o.Kernel && !t.Kthread(),
		o.User && (t.Kthread() || t.PID == 0),
		o.Leaders && t.PID != t.TGID,
		len(o.States) > 0 && !slices.Contains(o.States, t.Letter()),
		len(o.CPUs) > 0 && !slices.Contains(o.CPUs, t.CPU):
		return false
	}
	return single || !o.tasks.Any()
}

// queue tells whether a processor's run queue is to be told of.
func (o *chosen) queue(cpu int) bool { return len(o.CPUs) == 0 || slices.Contains(o.CPUs, cpu) }

// unknown says what was asked for and is not in the dump.
func (c *collector) unknown() []string {
	list := c.opt.tasks.Missing()
	for _, n := range c.opt.CPUs {
		if len(c.cpus) > 0 && !slices.Contains(c.cpus, n) {
			list = append(list, fmt.Sprintf("CPU %d is not among those that were online", n))
		}
	}
	return list
}

// orders are the ways to sort tasks. Figures go from the largest down, names and
// numbers up.
var orders = []struct {
	name string
	less func(a, b *Task) int
}{
	{"pid", func(a, b *Task) int { return cmp.Compare(a.PID, b.PID) }},
	{"comm", func(a, b *Task) int { return strings.Compare(a.Comm, b.Comm) }},
	{"cpu", func(a, b *Task) int { return cmp.Compare(a.CPU, b.CPU) }},
	{"state", func(a, b *Task) int { return strings.Compare(a.State, b.State) }},
	{"rss", func(a, b *Task) int { return cmp.Compare(b.RSS, a.RSS) }},
	{"vsz", func(a, b *Task) int { return cmp.Compare(b.VSZ, a.VSZ) }},
	{"time", func(a, b *Task) int { return cmp.Compare(b.Sched.Runtime, a.Sched.Runtime) }},
	{"start", func(a, b *Task) int { return cmp.Compare(a.Sched.Start, b.Sched.Start) }},
	{"ran", func(a, b *Task) int { return cmp.Compare(never(a.Sched.RanAgo), never(b.Sched.RanAgo)) }},
}

// never sorts a task that never ran behind the others.
func never(ago *uint64) uint64 {
	if ago == nil {
		return ^uint64(0)
	}
	return *ago
}

// Sorts are the names of the ways to sort tasks.
func Sorts() []string {
	var list []string
	for _, o := range orders {
		list = append(list, o.name)
	}
	return list
}

// sortTasks sorts the tasks; those that are equal stay in the order of their pids.
func sortTasks(list []Task, name string) error {
	slices.SortStableFunc(list, func(a, b Task) int { return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.CPU, b.CPU)) })
	for _, o := range orders {
		if o.name == name || o.name == "pid" && name == "" {
			slices.SortStableFunc(list, func(a, b Task) int { return o.less(&a, &b) })
			return nil
		}
	}
	return fmt.Errorf("there is no order %q; there are %s", name, strings.Join(Sorts(), ", "))
}
