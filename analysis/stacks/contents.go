package stacks

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// raw reads the task's stack from the stack pointer of the last frame that is
// on it up to its end.
func (c *collector) raw(tk *task.Task, trace *unwind.Trace) []Word {
	if tk.Stack == 0 {
		return nil
	}
	end := tk.Stack + c.tracer.StackSize()
	start := end
	for i := range trace.Frames {
		if sp := trace.Frames[i].SP; sp >= tk.Stack && sp < start {
			start = sp
		}
	}
	if trace.End == unwind.EndBroken && tk.SP >= tk.Stack && tk.SP < start {
		start = tk.SP
	}
	return c.words(start, end)
}

// data reads what lies on the stack between a function and what it was called from:
// its frame, with the return address. Registers that an exception saved there are told
// as such.
func (c *collector) data(trace *unwind.Trace, i int) []Word {
	f := &trace.Frames[i]
	if f.Stack == nil || f.SP < f.Stack.Start || f.SP >= f.Stack.End {
		return nil
	}
	end := f.Stack.End
	if f.CFA > f.SP && f.CFA < end {
		end = f.CFA
	}
	if i+1 < len(trace.Frames) {
		if next := &trace.Frames[i+1]; next.Stack != nil && *next.Stack == *f.Stack && next.SP >= f.SP && next.SP < end {
			end = next.SP
		}
	}
	if e := f.Exception; e != nil && e.Addr >= f.SP && e.Addr < end {
		end = e.Addr
	}
	return c.words(f.SP, end)
}

// maxData is more than a kernel stack has, in bytes: it bounds what a damaged size of one
// makes us read.
const maxData = 1 << 20

// words reads the words of a part of a stack, up to the first that cannot be read.
func (c *collector) words(start, end uint64) []Word {
	var list []Word
	start &^= 7
	if end <= start {
		return nil
	}
	buf := make([]byte, min(end-start, maxData))
	n, err := c.k.Read(buf, start)
	if err != nil {
		c.report.Coverage.Fail(fmt.Errorf("stack: %w", err))
	}
	for at := 0; at+8 <= n; at += 8 {
		v := binary.LittleEndian.Uint64(buf[at:])
		w := Word{Addr: kernel.Addr(start + uint64(at)), Value: kernel.Addr(v)}
		switch {
		case c.opt.Names:
			c.name(&w, v)
		case c.tracer.IsText(v):
			w.Symbol = c.k.SymbolName(v)
		}
		list = append(list, w)
	}
	return list
}

// name tells what a word can be the address of: code or data of the kernel or a
// module, or memory of a slab cache.
func (c *collector) name(w *Word, v uint64) {
	if v>>63 == 0 {
		return
	}
	known, ok := c.named[v]
	if !ok {
		known.Symbol, _ = c.k.LookupName(v)
		if known.Symbol == "" {
			c.object(&known, v)
		}
		if len(c.named) < maxNamed {
			c.named[v] = known
		}
	}
	w.Symbol, w.Cache, w.Object, w.Free = known.Symbol, known.Cache, known.Object, known.Free
}

// maxNamed bounds how many values are remembered with what they point to.
const maxNamed = 1 << 16

// object looks for a slab object around an address.
func (c *collector) object(w *Word, v uint64) {
	slabs := c.slabCaches()
	if slabs == nil {
		return
	}
	o, ok, err := slabs.ObjectAt(v)
	switch {
	case ok:
		w.Cache, w.Object, w.Free = o.Slab.Cache.Name, kernel.Addr(o.Addr), o.Free && o.Doubt == nil
	case err != nil && !errors.Is(err, page.ErrNoPage) && !errors.Is(err, dump.ErrExcluded):
		c.lacks("what words on the stacks point to is known in part: " + err.Error())
	}
}

// slabCaches opens the slab allocator, nil where there is none or it cannot be read.
func (c *collector) slabCaches() *slab.Allocations {
	if c.slabsTried {
		return c.slabs
	}
	c.slabsTried = true
	pages, err := page.Open(c.k)
	if err == nil {
		c.slabs, err = slab.Open(c.k, pages)
	}
	if err != nil {
		c.lacks("no slab caches of what words on the stacks point to: " + err.Error())
	}
	return c.slabs
}

// search looks for registers that exceptions left on the stacks of a task and of the
// processor that ran it.
func (c *collector) search(tk *task.Task, cpu *unwind.CPU, trace *unwind.Trace) []Found {
	if tk.Stack == 0 && cpu == nil {
		return nil // it is freed
	}
	number := -1
	if cpu != nil {
		number = cpu.Number
	}
	found, err := c.tracer.Exceptions(tk, number)
	if err != nil {
		c.report.Coverage.Fail(fmt.Errorf("stack of %d %s: %w", tk.PID, tk.Comm, err))
	}
	list := make([]Found, 0, len(found))
	for i := range found {
		f := Found{Exception: *c.exception(&found[i].Exception), Stack: found[i].Stack.Name}
		for j := range trace.Frames {
			e := trace.Frames[j].Exception
			f.Walked = f.Walked || e != nil && e.Addr == found[i].Addr
		}
		list = append(list, f)
	}
	return list
}
