package sched

import (
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
)

// fairLayouts are struct cfs_rq and struct sched_entity. What changed: the tree's
// root is a struct rb_root_cached since 4.14; nr_running was renamed in 6.15; when a
// queue was throttled is throttled_timestamp until 3.12; a sleeper may stay queued
// since 6.12; tasks of a throttled queue are taken off it, to a list, since 6.18.
type fairLayouts struct {
	rq struct {
		kernel.Layout `kernel:"struct cfs_rq"`
		Root          kernel.Offset `kernel:"tasks_timeline.rb_root.rb_node|tasks_timeline.rb_node|tasks_timeline"`
		Current       kernel.U64    `kernel:"curr"`
		Running       kernel.Uint   `kernel:"h_nr_queued|h_nr_running|nr_running,optional"`
		Group         kernel.U64    `kernel:"tg,optional"` // with CONFIG_FAIR_GROUP_SCHED
		Enabled       kernel.Uint   `kernel:"runtime_enabled,optional"`
		Remaining     kernel.U64    `kernel:"runtime_remaining,optional"`
		Expires       kernel.U64    `kernel:"runtime_expires,optional"` // until 5.3
		Since         kernel.U64    `kernel:"throttled_clock|throttled_timestamp,optional"`
		Throttled     kernel.Uint   `kernel:"throttled,optional"`
		Depth         kernel.Uint   `kernel:"throttle_count,optional"`
		Limbo         kernel.Offset `kernel:"throttled_limbo_list,optional"`
	}
	entity struct {
		kernel.Layout `kernel:"struct sched_entity"`
		Node          kernel.Offset `kernel:"run_node"`
		OnRQ          kernel.Uint   `kernel:"on_rq,optional"`
		Vruntime      kernel.U64    `kernel:"vruntime,optional"`
		Queue         kernel.U64    `kernel:"my_q,optional"` // of a group
		Delayed       kernel.Uint   `kernel:"sched_delayed,optional"`
	}
	limbo bool // the kernel has a list of throttled tasks
}

func (r *Reader) resolveFair() error {
	if err := r.k.Resolve(&r.fair.rq); err != nil {
		return err
	}
	r.fair.limbo = r.fair.rq.Limbo.Has() && r.entity.Throttle.Has()
	return r.k.Resolve(&r.fair.entity)
}

// fairTasks collects the tasks of the fair classes.
func (r *Reader) fairTasks(q *Queue) error {
	return r.fairQueue(q.Addr+r.rq.Fair.Offset(), 0, &q.Fair)
}

// fairQueue collects the tasks of a struct cfs_rq and of the groups in it.
func (r *Reader) fairQueue(at, group uint64, to *[]Entry) error {
	w := fairWalk{r: r, to: to, queues: map[uint64]bool{}}
	w.queue(at, group)
	return w.err
}

// fairWalk goes through the queues of groups within groups, each once.
type fairWalk struct {
	r      *Reader
	to     *[]Entry
	queues map[uint64]bool
	err    error // the first one
}

func (w *fairWalk) fail(what string, at uint64, err error) {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("struct %s at %#x: %w", what, at, err)
	}
}

var errTwice = errors.New("it is in the tree of more than one group, or in its own")

// queue collects the tasks of one struct cfs_rq. The entity that runs is not in the
// tree.
func (w *fairWalk) queue(at, group uint64) {
	if w.queues[at] {
		w.fail("cfs_rq", at, errTwice)
		return
	}
	w.queues[at] = true
	l := &w.r.fair.rq
	current, err := w.r.k.Uint64(at + l.Current.Offset())
	w.fail("cfs_rq", at, err)
	if current != 0 {
		w.entity(current, group, true)
	}
	err = w.r.tree(at+l.Root.Offset(), func(node uint64) {
		w.entity(node-w.r.fair.entity.Node.Offset(), group, false)
	})
	w.fail("cfs_rq", at, err)
}

// entity adds a task, or the tasks of a group.
func (w *fairWalk) entity(at, group uint64, current bool) {
	l := &w.r.fair.entity
	b, err := w.r.k.Peek(at, make([]byte, l.Span()))
	if err != nil {
		w.fail("sched_entity", at, err)
		return
	}
	if current && l.OnRQ.Has() && l.OnRQ.Get(b) == 0 {
		return // it is about to sleep
	}
	if l.Queue.Has() && l.Queue.Get(b) != 0 {
		queue := l.Queue.Get(b)
		if w.r.fair.rq.Group.Has() {
			group, err = w.r.k.Uint64(queue + w.r.fair.rq.Group.Offset())
			w.fail("cfs_rq", queue, err)
		}
		w.queue(queue, group)
		return
	}
	e := Entry{Task: at - w.r.entity.Fair.Offset(), Group: group, Current: current}
	if l.Vruntime.Has() {
		e.Vruntime = l.Vruntime.Get(b)
	}
	if l.Delayed.Has() {
		e.Delayed = l.Delayed.Get(b) != 0
	}
	*w.to = append(*w.to, e)
}

// maxQueued bounds how many tasks can be on one list.
const maxQueued = 4 << 20

// limboTasks adds the tasks that were taken off a throttled struct cfs_rq.
func (r *Reader) limboTasks(at, group uint64, to *[]Entry) error {
	if !r.fair.limbo {
		return nil
	}
	for node, err := range list.Circular(r.k, at+r.fair.rq.Limbo.Offset(), maxQueued) {
		if err != nil {
			return err
		}
		*to = append(*to, Entry{Task: node - r.entity.Throttle.Offset(), Group: group})
	}
	return nil
}
