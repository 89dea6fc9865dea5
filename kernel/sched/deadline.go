package sched

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// dlLayouts are struct dl_rq and struct sched_dl_entity, since 3.14. The tree's root
// is a struct rb_root_cached since 4.14. Since 6.8 an entity may stand for the fair
// tasks of its processor instead of for a task.
type dlLayouts struct {
	rq struct {
		kernel.Layout `kernel:"struct dl_rq"`
		Root          kernel.Offset `kernel:"root.rb_root.rb_node|root.rb_node|rb_root.rb_node"`
	}
	entity struct {
		kernel.Layout `kernel:"struct sched_dl_entity"`
		Node          kernel.Offset `kernel:"rb_node"`
		Deadline      kernel.U64    `kernel:"deadline,optional"`
		Server        kernel.Uint   `kernel:"dl_server,optional"`
	}
}

func (r *Reader) resolveDL() error {
	if !r.hasDeadline() {
		return nil
	}
	if err := r.k.Resolve(&r.dl.rq); err != nil {
		return err
	}
	return r.k.Resolve(&r.dl.entity)
}

func (r *Reader) hasDeadline() bool { return r.rq.Deadline.Has() && r.entity.Deadline.Has() }

// dlTasks collects the deadline tasks.
func (r *Reader) dlTasks(q *Queue) error {
	if !r.hasDeadline() {
		return nil
	}
	at := q.Addr + r.rq.Deadline.Offset()
	l := &r.dl.entity
	var first error
	err := r.tree(at+r.dl.rq.Root.Offset(), func(node uint64) {
		entity := node - l.Node.Offset()
		b, err := r.k.Peek(entity, make([]byte, max(l.Span(), 8)))
		if err != nil {
			if first == nil {
				first = fmt.Errorf("struct sched_dl_entity at %#x: %w", entity, err)
			}
			return
		}
		if l.Server.Has() && l.Server.Get(b) != 0 {
			return
		}
		e := Entry{Task: entity - r.entity.Deadline.Offset()}
		if l.Deadline.Has() {
			e.Deadline = l.Deadline.Get(b)
		}
		q.Deadline = append(q.Deadline, e)
	})
	if err != nil {
		return fmt.Errorf("struct dl_rq at %#x: %w", at, err)
	}
	return first
}
