package sched

import (
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
	return r.fairQueue(q.Addr+r.rq.Fair.Offset(), 0, 0, &q.Fair)
}

// maxGroupDepth bounds how deep groups can be nested.
const maxGroupDepth = 256

// fairQueue collects the tasks of a struct cfs_rq and of the groups in it. The one
// that runs is not in the tree.
func (r *Reader) fairQueue(at, group uint64, depth int, to *[]Entry) error {
	if depth == maxGroupDepth {
		return fmt.Errorf("struct cfs_rq at %#x: groups are nested deeper than can be", at)
	}
	current, err := r.k.Uint64(at + r.fair.rq.Current.Offset())
	if err != nil {
		return fmt.Errorf("struct cfs_rq at %#x: %w", at, err)
	}
	if current != 0 {
		err = r.fairEntity(current, group, depth, true, to)
	}
	treeErr := r.tree(at+r.fair.rq.Root.Offset(), func(node uint64) {
		entity := node - r.fair.entity.Node.Offset()
		if e := r.fairEntity(entity, group, depth, false, to); e != nil && err == nil {
			err = e
		}
	})
	if treeErr != nil && err == nil {
		err = fmt.Errorf("struct cfs_rq at %#x: %w", at, treeErr)
	}
	return err
}

// fairEntity adds a task, or the tasks of a group.
func (r *Reader) fairEntity(at, group uint64, depth int, current bool, to *[]Entry) error {
	l := &r.fair.entity
	b, err := r.k.Peek(at, make([]byte, l.Span()))
	if err != nil {
		return fmt.Errorf("struct sched_entity at %#x: %w", at, err)
	}
	if current && l.OnRQ.Has() && l.OnRQ.Get(b) == 0 {
		return nil // it is about to sleep
	}
	if l.Queue.Has() {
		if queue := l.Queue.Get(b); queue != 0 {
			inner := group
			if r.fair.rq.Group.Has() {
				if inner, err = r.k.Uint64(queue + r.fair.rq.Group.Offset()); err != nil {
					return fmt.Errorf("struct cfs_rq at %#x: %w", queue, err)
				}
			}
			return r.fairQueue(queue, inner, depth+1, to)
		}
	}
	e := Entry{Task: at - r.entity.Fair.Offset(), Group: group, Current: current}
	if l.Vruntime.Has() {
		e.Vruntime = l.Vruntime.Get(b)
	}
	if l.Delayed.Has() {
		e.Delayed = l.Delayed.Get(b) != 0
	}
	*to = append(*to, e)
	return nil
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
