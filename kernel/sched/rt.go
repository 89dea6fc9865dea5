package sched

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
)

// rtLayouts are struct rt_rq, struct rt_prio_array and struct sched_rt_entity. What
// changed: since 6.13 a kernel without CONFIG_RT_GROUP_SCHED does not count the time
// of real-time tasks.
type rtLayouts struct {
	rq struct {
		kernel.Layout `kernel:"struct rt_rq"`
		Active        kernel.Offset `kernel:"active"`
		Throttled     kernel.Uint   `kernel:"rt_throttled,optional"`
		Time          kernel.U64    `kernel:"rt_time,optional"`
		Runtime       kernel.U64    `kernel:"rt_runtime,optional"`
	}
	array struct {
		kernel.Layout `kernel:"struct rt_prio_array"`
		Queue         kernel.Bytes `kernel:"queue"`
	}
	entity struct {
		kernel.Layout `kernel:"struct sched_rt_entity"`
		List          kernel.Offset `kernel:"run_list"`
		Queue         kernel.U64    `kernel:"my_q,optional"` // of a group
	}
	groups bool // real-time tasks have groups
}

func (r *Reader) resolveRT() error {
	for _, l := range []any{&r.rt.rq, &r.rt.array, &r.rt.entity} {
		if err := r.k.Resolve(l); err != nil {
			return err
		}
	}
	r.rt.groups = r.rt.entity.Queue.Has()
	return nil
}

// rtTasks collects the real-time tasks.
func (r *Reader) rtTasks(q *Queue) error {
	at := q.Addr + r.rq.RealTime.Offset()
	l := &r.rt.rq
	b, err := r.k.Peek(at, make([]byte, max(l.Span(), 8)))
	if err != nil {
		return fmt.Errorf("struct rt_rq at %#x: %w", at, err)
	}
	if l.Throttled.Has() {
		q.RTThrottled = l.Throttled.Get(b) != 0
	}
	if l.Time.Has() {
		q.RTTime = l.Time.Get(b)
	}
	if l.Runtime.Has() {
		q.RTRuntime = l.Runtime.Get(b)
	}
	return r.rtQueue(at, 0, &q.RealTime)
}

// maxGroupDepth bounds how deep groups of real-time tasks can be nested: without
// bandwidth of its own, which must be part of that above, none can be made.
const maxGroupDepth = 32

// rtQueue collects the tasks of a struct rt_rq, which has a list for each priority,
// and of the groups in it.
func (r *Reader) rtQueue(at uint64, depth int, to *[]Entry) error {
	if depth == maxGroupDepth {
		return fmt.Errorf("struct rt_rq at %#x: groups are nested deeper than can be", at)
	}
	const headSize = 16 // of a struct list_head
	heads := at + r.rt.rq.Active.Offset() + r.rt.array.Queue.Offset()
	var first error
	for prio := range r.rt.array.Queue.Len() / headSize {
		for node, err := range list.Circular(r.k, heads+uint64(prio)*headSize, maxQueued) {
			if err == nil {
				err = r.rtEntity(node-r.rt.entity.List.Offset(), prio, depth, to)
			}
			if err != nil && first == nil {
				first = fmt.Errorf("struct rt_rq at %#x: %w", at, err)
			}
		}
	}
	return first
}

func (r *Reader) rtEntity(at uint64, prio, depth int, to *[]Entry) error {
	if r.rt.groups {
		queue, err := r.k.Uint64(at + r.rt.entity.Queue.Offset())
		if err != nil {
			return fmt.Errorf("struct sched_rt_entity at %#x: %w", at, err)
		}
		if queue != 0 {
			return r.rtQueue(queue, depth+1, to)
		}
	}
	*to = append(*to, Entry{Task: at - r.entity.RealTime.Offset(), Prio: prio})
	return nil
}
