package stacks

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/module"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/task"
	"github.com/kmortem/mortem/kernel/unwind"
)

// Tasks reads the stacks of a kernel's tasks.
type Tasks struct {
	k       *kernel.Kernel
	reader  *task.Reader
	tracer  *unwind.Tracer
	modules *module.Table // nil where there are none
}

// Open reads what is needed to unwind the kernel's stacks. It makes the kernel
// name addresses in modules (module.Attach), and so must be called before the
// kernel is used by several goroutines. Errors are those of unwind.New and
// task.New.
func Open(k *kernel.Kernel) (*Tasks, error) {
	var modules *module.Table
	if k.HasSymbol("modules") {
		// Without its modules' unwind data, a kernel is still worth unwinding.
		modules, _ = module.Attach(k)
	}
	tracer, err := unwind.New(k, modules)
	if err != nil {
		return nil, err
	}
	reader, err := task.New(k)
	if err != nil {
		return nil, err
	}
	return &Tasks{k: k, reader: reader, tracer: tracer, modules: modules}, nil
}

// Tracer unwinds single stacks.
func (t *Tasks) Tracer() *unwind.Tracer { return t.tracer }

// collector makes a report.
type collector struct {
	*Tasks
	opt     chosen
	walk    unwind.Options
	cpus    map[uint64]*unwind.CPU // by the address of the task_struct
	next    map[uint64]int         // processors that were switching to a task, by its address
	orphans []*unwind.CPU          // whose task is not known
	groups  map[uint64][]int       // by hash: indexes into the report's
	seed    maphash.Seed
	inlined map[uint64]bool // by address of code: whether a function that is asked for is inlined there
	blind   []string        // modules of which that is not known, "" for the kernel
	named   map[uint64]Word // by value: what words on the stacks point to
	slabs   *slab.Allocations
	report  *Report

	slabsTried bool
}

// Collect walks the stacks of the tasks that the options choose: those of the
// processors first, then the others in the order of the task list. The error is
// that of ctx; what could not be read is in the report's coverage.
func (t *Tasks) Collect(ctx context.Context, opt Options) (*Report, error) {
	c := t.collector(opt)
	cpus, err := t.tracer.CPUs(t.reader)
	if err != nil {
		c.report.Coverage.Fail(err)
	}
	c.panicked()
	c.running(cpus)
	c.idle(cpus)
	if err := c.others(ctx); err != nil {
		return nil, err
	}
	for _, cpu := range c.orphans {
		if cpu.Task == nil {
			c.report.Coverage.Fail(fmt.Errorf("what CPU %d ran is not known: %w", cpu.Number, cpu.Err))
		}
	}
	c.report.Unknown = c.opt.unknown(t, len(c.blind) > 0 || !t.kernelTells())
	c.saysBlind()
	slices.SortStableFunc(c.report.Groups, func(a, b Group) int { return b.Count - a.Count })
	return c.report, nil
}

// allFrames are more frames than the stacks that a task can be on have room for.
const allFrames = 1 << 16

// frameLimit is unwind's limit for Options.Limit.
func frameLimit(limit int) int {
	if limit < 0 {
		return allFrames
	}
	return limit
}

func (t *Tasks) collector(opt Options) *collector {
	opt.Lines = opt.Lines || opt.Locals
	opt.Data = opt.Data || opt.Names && !opt.Raw
	c := &collector{Tasks: t, opt: choose(&opt), cpus: map[uint64]*unwind.CPU{}, next: map[uint64]int{}, groups: map[uint64][]int{}, seed: maphash.MakeSeed(), inlined: map[uint64]bool{}, named: map[uint64]Word{},
		walk: unwind.Options{Limit: frameLimit(opt.Limit), Registers: opt.Registers || opt.Locals, Scan: opt.Scan}}
	c.report = &Report{Coverage: t.k.NewCoverage()}
	for _, m := range t.tracer.Methods() {
		c.report.Methods = append(c.report.Methods, string(m))
	}
	return c
}

// panicked finds the processor that panicked, if that is asked for.
func (c *collector) panicked() {
	if !c.opt.Panic {
		return
	}
	cpu, by, err := c.reader.PanicCPU()
	if err != nil {
		c.report.Coverage.Fail(err)
	}
	if c.opt.panicked = cpu; by == "" {
		c.opt.panicked = -1
	}
}

// running adds what the processors ran.
func (c *collector) running(cpus []unwind.CPU) {
	for i := range cpus {
		if cpus[i].Next != nil {
			c.next[cpus[i].Next.Addr] = cpus[i].Number
		}
	}
	for i := range cpus {
		cpu := &cpus[i]
		switch {
		case cpu.Task != nil:
			c.cpus[cpu.Task.Addr] = cpu
			c.add(cpu.Task, cpu)
		case cpu.Source != "":
			c.orphans = append(c.orphans, cpu)
		default:
			c.report.Coverage.Fail(fmt.Errorf("CPU %d: %w", cpu.Number, cpu.Err))
		}
	}
}

// idle adds the idle tasks of processors that had something to do.
func (c *collector) idle(cpus []unwind.CPU) {
	for i := range cpus {
		if cpus[i].Idle == 0 || c.cpus[cpus[i].Idle] != nil {
			continue
		}
		if tk, err := c.reader.At(cpus[i].Idle); err != nil {
			c.report.Coverage.Fail(err)
		} else {
			c.add(tk, nil)
		}
	}
}

// others adds the tasks that no processor has.
func (c *collector) others(ctx context.Context) error {
	list, _ := c.reader.Find(c.report.Coverage.Fail)
	for _, tk := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.cpus[tk.Addr] == nil {
			c.add(tk, c.orphan(tk))
		}
	}
	return nil
}

// orphan is the processor without a known run queue that a task ran on, nil if
// none.
func (c *collector) orphan(tk *task.Task) *unwind.CPU {
	for _, cpu := range c.orphans {
		if c.tracer.Runs(cpu, tk) {
			cpu.Task = tk
			return cpu
		}
	}
	return nil
}

// add walks the stack of a task if it is chosen.
func (c *collector) add(tk *task.Task, cpu *unwind.CPU) {
	c.report.Searched++
	if !c.opt.fits(tk, cpu) {
		return
	}
	var trace unwind.Trace
	if cpu != nil {
		trace = c.tracer.CPU(cpu, c.walk)
	} else {
		trace = c.tracer.Sleeping(tk, c.walk)
	}
	c.walk.Frames = trace.Frames // for the next one
	if !c.passes(&trace) {
		return
	}
	c.report.Selected++
	c.count(tk, &trace)
	// A mark that is not in the dump says nothing.
	if over, _, _ := c.tracer.Overflowed(tk); over {
		c.report.Overflowed = append(c.report.Overflowed, c.task(tk, cpu))
	}
	if c.opt.Unique {
		c.fold(tk, cpu, &trace)
		return
	}
	c.report.Stacks = append(c.report.Stacks, c.stack(tk, cpu, &trace))
}

// count adds a stack to the coverage: one that breaks is read in part.
func (c *collector) count(tk *task.Task, trace *unwind.Trace) {
	switch {
	case trace.End == unwind.EndBroken:
		c.report.Coverage.Fail(fmt.Errorf("stack of %d %s: %w", tk.PID, tk.Comm, trace.Err))
	case len(trace.Faults) > 0:
		c.report.Coverage.Fail(fmt.Errorf("stack of %d %s: %w", tk.PID, tk.Comm, trace.Faults[0]))
	default:
		c.report.Coverage.Read++
	}
}

// fold adds a task to the group with its stack.
func (c *collector) fold(tk *task.Task, cpu *unwind.CPU, trace *unwind.Trace) {
	var h maphash.Hash
	h.SetSeed(c.seed)
	var word [8]byte
	for i := range trace.Frames {
		binary.LittleEndian.PutUint64(word[:], trace.Frames[i].PC)
		_, _ = h.Write(word[:]) // never fails
	}
	_, _ = h.WriteString(string(trace.End))
	sum := h.Sum64()
	for _, i := range c.groups[sum] {
		g := &c.report.Groups[i]
		if sameFrames(g, trace) {
			g.Count++
			g.Tasks = append(g.Tasks, c.task(tk, cpu))
			return
		}
	}
	s := c.stack(tk, cpu, trace)
	c.groups[sum] = append(c.groups[sum], len(c.report.Groups))
	c.report.Groups = append(c.report.Groups, Group{Count: 1, Frames: s.Frames, End: s.End, Error: s.Error, Tasks: []Task{s.Task}})
}

func sameFrames(g *Group, trace *unwind.Trace) bool {
	if g.End != string(trace.End) || len(g.Frames) != len(trace.Frames) {
		return false
	}
	for i := range g.Frames {
		if uint64(g.Frames[i].PC) != trace.Frames[i].PC {
			return false
		}
	}
	return true
}
