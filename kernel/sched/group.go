package sched

import (
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
)

// groupLayouts are struct task_group, with CONFIG_CGROUP_SCHED, and struct
// cfs_bandwidth, with CONFIG_CFS_BANDWIDTH, since 3.2 and in RHEL 6.
type groupLayouts struct {
	group struct {
		kernel.Layout `kernel:"struct task_group"`
		Cgroup        kernel.U64    `kernel:"css.cgroup,optional"`
		List          kernel.Offset `kernel:"list"`
		Parent        kernel.U64    `kernel:"parent,optional"`
		Queues        kernel.U64    `kernel:"cfs_rq"`
		Autogroup     kernel.U64    `kernel:"autogroup,optional"`
		Bandwidth     kernel.Offset `kernel:"cfs_bandwidth"`
	}
	bandwidth struct {
		kernel.Layout `kernel:"struct cfs_bandwidth"`
		Period        kernel.U64  `kernel:"period.tv64|period"` // a union until 4.9
		Quota         kernel.U64  `kernel:"quota"`
		Runtime       kernel.U64  `kernel:"runtime"`
		Burst         kernel.U64  `kernel:"burst,optional"` // since 5.14
		Periods       kernel.Uint `kernel:"nr_periods"`
		Throttles     kernel.Uint `kernel:"nr_throttled"`
		Time          kernel.U64  `kernel:"throttled_time"`
	}
	perCPU bool // task_group.cfs_rq is per-CPU, no array of pointers
	ok     bool
	err    error // why groups cannot be read although the kernel can throttle them
}

// resolveGroups finds out whether the kernel has bandwidth control. Without it no
// group is throttled.
func (r *Reader) resolveGroups() {
	g := &r.group
	if g.ok = r.fair.rq.Throttled.Has() && r.fair.rq.Remaining.Has(); !g.ok {
		return
	}
	if g.err = r.k.Resolve(&g.group); g.err == nil {
		g.err = r.k.Resolve(&g.bandwidth)
	}
	// One allocation for all processors in the 7 releases (7.2 has it, 6.18 not).
	if t, err := r.k.Type("struct task_group"); err == nil {
		if f, err := t.Field("cfs_rq"); err == nil {
			g.perCPU = f.Type.Strip().Elem().Strip().IsRecord()
		}
	}
}

// queueOf is the address of a group's struct cfs_rq on a processor, 0 where it has
// none.
func (r *Reader) queueOf(queues uint64, cpu int) (uint64, error) {
	if r.group.perCPU {
		return r.k.PerCPU(queues, uint64(cpu))
	}
	return r.k.Uint64(queues + 8*uint64(cpu))
}

// HasBandwidth tells whether the kernel can throttle groups.
func (r *Reader) HasBandwidth() bool { return r.group.ok }

// Group is a group of tasks with a quota: struct task_group and its
// cfs_bandwidth (kernel/sched/sched.h, since 3.2). Times are in ns.
type Group struct {
	Addr      uint64 // virtual address of the struct task_group
	Cgroup    uint64 // of its struct cgroup; 0 for the root's and for an autogroup
	Parent    uint64 // of the struct task_group above
	Limited   bool   // it has a quota of its own
	Quota     uint64 // it may run for so long
	Period    uint64 // in each such time
	Burst     uint64 // and save up so much
	Left      uint64 // of the quota, not yet handed to a processor
	Periods   uint64 // that passed while it wanted to run
	Throttles uint64 // in so many of these it was throttled
	Time      uint64 // it was throttled for so long, the running times left out

	Queues []GroupQueue // those of processors where it is throttled or has tasks
}

// GroupQueue is a group's queue on one processor: struct cfs_rq
// (kernel/sched/sched.h).
type GroupQueue struct {
	CPU       int
	Addr      uint64 // virtual address of the struct cfs_rq
	Throttled bool   // the group itself is
	Depth     int    // how many of it and the groups above are
	Remaining int64  // ns it may still run; below zero it is in debt
	Expires   uint64 // when that ends; until 5.3
	Since     uint64 // when it was throttled, by Queue.Clock; 0 if it is not, or not known
	Queued    uint64 // tasks in it and in the groups below
	Tasks     []Entry
}

// unlimited is the quota of a group without one (RUNTIME_INF).
const unlimited = ^uint64(0)

// maxTaskGroups bounds the walk of the list of groups.
const maxTaskGroups = 16 << 20

// Groups yields the groups that have a quota or are throttled on some processor.
func (r *Reader) Groups() iter.Seq2[*Group, error] {
	return func(yield func(*Group, error) bool) {
		if !r.group.ok {
			return
		}
		if r.group.err != nil {
			yield(nil, fmt.Errorf("groups of tasks: %w", r.group.err))
			return
		}
		head, err := r.k.Symbol("task_groups")
		if err != nil {
			yield(nil, err)
			return
		}
		for node, err := range list.Circular(r.k, head, maxTaskGroups) {
			if err != nil {
				yield(nil, fmt.Errorf("task_groups: %w", err))
				return
			}
			g, err := r.readGroup(node - r.group.group.List.Offset())
			if (g.Limited || g.throttled() || err != nil) && !yield(g, err) {
				return
			}
		}
	}
}

func (g *Group) throttled() bool {
	for i := range g.Queues {
		if g.Queues[i].Throttled || g.Queues[i].Depth > 0 {
			return true
		}
	}
	return false
}

// readGroup reads a group. What was read comes with the first error.
func (r *Reader) readGroup(at uint64) (*Group, error) {
	g := &Group{Addr: at}
	l, w := &r.group.group, &r.group.bandwidth
	b, err := r.k.Peek(at, make([]byte, l.Span()))
	if err != nil {
		return g, fmt.Errorf("struct task_group at %#x: %w", at, err)
	}
	queues := l.Queues.Get(b)
	if l.Cgroup.Has() {
		g.Cgroup = l.Cgroup.Get(b)
	}
	if l.Parent.Has() {
		g.Parent = l.Parent.Get(b)
	}
	if l.Autogroup.Has() && l.Autogroup.Get(b) != 0 {
		g.Cgroup = 0
	}
	if b, err = r.k.Peek(at+l.Bandwidth.Offset(), make([]byte, w.Span())); err != nil {
		return g, fmt.Errorf("struct task_group at %#x: %w", at, err)
	}
	if quota := w.Quota.Get(b); quota != unlimited {
		g.Limited, g.Quota = true, quota
	}
	g.Period, g.Left = w.Period.Get(b), w.Runtime.Get(b)
	g.Periods, g.Throttles, g.Time = w.Periods.Get(b), w.Throttles.Get(b), w.Time.Get(b)
	if w.Burst.Has() {
		g.Burst = w.Burst.Get(b)
	}
	for _, cpu := range r.cpus {
		if e := r.groupQueue(g, cpu.Number, queues); e != nil && err == nil {
			err = fmt.Errorf("struct task_group at %#x, CPU %d: %w", at, cpu.Number, e)
		}
	}
	return g, err
}

// groupQueue adds a group's queue on a processor if there is anything to tell of it.
func (r *Reader) groupQueue(g *Group, cpu int, queues uint64) error {
	at, err := r.queueOf(queues, cpu)
	if err != nil || at == 0 {
		return err
	}
	l := &r.fair.rq
	b, err := r.k.Peek(at, make([]byte, l.Span()))
	if err != nil {
		return fmt.Errorf("struct cfs_rq at %#x: %w", at, err)
	}
	q := GroupQueue{CPU: cpu, Addr: at, Throttled: l.Throttled.Get(b) != 0, Remaining: int64(l.Remaining.Get(b))}
	if l.Depth.Has() {
		q.Depth = int(int32(l.Depth.Get(b)))
	}
	if l.Running.Has() {
		q.Queued = l.Running.Get(b)
	}
	if l.Since.Has() && q.Throttled {
		q.Since = l.Since.Get(b)
	}
	if l.Expires.Has() {
		q.Expires = l.Expires.Get(b)
	}
	if !q.Throttled && q.Depth == 0 && (q.Queued == 0 || !g.Limited) {
		return nil
	}
	err = r.fairQueue(at, g.Addr, &q.Tasks)
	if limboErr := r.limboTasks(at, g.Addr, &q.Tasks); err == nil {
		err = limboErr
	}
	g.Queues = append(g.Queues, q)
	return err
}
