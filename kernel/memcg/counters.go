package memcg

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// counterLayout is struct page_counter (include/linux/page_counter.h, since 3.19).
type counterLayout struct {
	kernel.Layout `kernel:"struct page_counter"`
	Usage         kernel.U64 `kernel:"usage.counter|count.counter"` // since 4.18, before
	Max           kernel.U64 `kernel:"max|limit"`
	Peak          kernel.U64 `kernel:"watermark,optional"`
	Failed        kernel.U64 `kernel:"failcnt,optional"`
}

// resCounterLayout is struct res_counter (include/linux/res_counter.h, until 3.18).
type resCounterLayout struct {
	kernel.Layout `kernel:"struct res_counter"`
	Usage         kernel.U64 `kernel:"usage"`
	Max           kernel.U64 `kernel:"limit"`
	Peak          kernel.U64 `kernel:"max_usage"`
	Failed        kernel.U64 `kernel:"failcnt"`
}

func (r *Reader) resolveCounters() error {
	if r.group.Memory.Path() == "memory" && r.k.HasType("struct page_counter") {
		r.unit = r.k.PageSize()
		return r.k.Resolve(&r.counter)
	}
	var l resCounterLayout
	if err := r.k.Resolve(&l); err != nil {
		return err
	}
	r.counter, r.unit = counterLayout(l), 1
	return nil
}

// Counter is one counter of a memory cgroup: struct page_counter
// (include/linux/page_counter.h) since 3.19, res_counter before. Sizes are in
// bytes.
type Counter struct {
	Usage  uint64
	Max    uint64 // the limit, 0 for none
	Peak   uint64
	Failed uint64 // how often the limit was hit
}

// Counters are what a memory cgroup is charged for; of the groups below it too where the
// hierarchy does that.
type Counters struct {
	Memory Counter
	Swap   *Counter // of hierarchies of version 2
	Memsw  *Counter // memory and swap, of hierarchies of version 1
	Kernel *Counter // counted in hierarchies of version 1 only
}

// Counters reads the counters of a group. What was read comes with the errors of what
// was not.
func (r *Reader) Counters(g *Group) (Counters, []error) {
	var c Counters
	var errs []error
	read := func(at kernel.Offset) *Counter {
		if !at.Has() {
			return nil
		}
		b, err := r.k.Peek(g.Addr+at.Offset(), make([]byte, r.counter.Span()))
		if err != nil {
			errs = append(errs, fmt.Errorf("counters of the memory cgroup %s: %w", g.Path, err))
			return nil
		}
		return r.decode(b)
	}
	if m := read(r.group.Memory); m != nil {
		c.Memory = *m
	}
	c.Swap, c.Memsw, c.Kernel = read(r.group.Swap), read(r.group.Memsw), read(r.group.Kmem)
	if c.Kernel != nil && c.Kernel.Usage == 0 {
		c.Kernel = nil
	}
	if c.Swap != nil { // since 5.10 the same place is memsw in hierarchies of version 1
		c.Memsw = nil
	}
	return c, errs
}

func (r *Reader) decode(b []byte) *Counter {
	l := &r.counter
	c := &Counter{Usage: l.Usage.Get(b) * r.unit, Max: l.Max.Get(b)}
	if c.Max >= 1<<62/r.unit {
		c.Max = 0 // PAGE_COUNTER_MAX
	}
	c.Max *= r.unit
	if l.Peak.Has() {
		c.Peak = l.Peak.Get(b) * r.unit
	}
	if l.Failed.Has() {
		c.Failed = l.Failed.Get(b)
	}
	return c
}
