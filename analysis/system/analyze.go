package system

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/kmortem/mortem/analysis/info"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/cstr"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/printk"
	"github.com/kmortem/mortem/kernel/task"
)

// collector makes a report.
type collector struct {
	k *kernel.Kernel
	r *Report
}

// unknown notes that something could not be found out. What a kernel of that release
// or configuration does not have is not unread.
func (c *collector) unknown(what string, err error) {
	if err == nil {
		return
	}
	c.r.Unknown = append(c.r.Unknown, fmt.Sprintf("%s: %v", what, err))
	if !errors.Is(err, kernel.ErrNotFound) && !errors.Is(err, ctype.ErrNoField) {
		c.r.Coverage.Fail(fmt.Errorf("%s: %w", what, err))
	}
}

// Analyze reads what there is to know about the machine as a whole. The error
// is that of ctx; what could not be read is in the report's coverage.
func Analyze(ctx context.Context, k *kernel.Kernel) (*Report, error) {
	c := &collector{k: k, r: &Report{Coverage: k.NewCoverage(), DebugInfo: k.Info().Describe(), States: []State{}, Running: []Task{},
		Load: []float64{}, Log: []info.Message{}, Unknown: []string{}}}
	log, _ := printk.OpenKernel(k) // info says why, where there is none
	dump, err := info.Analyze(ctx, k.Image(), info.Options{SkipPages: true, Log: log})
	if err != nil {
		return nil, err
	}
	c.fromDump(dump)
	c.machine()
	c.clock(dump)
	c.load()
	c.taints()
	if err := c.tasks(ctx); err != nil {
		return nil, err
	}
	c.log()
	return c.r, nil
}

// fromDump takes over what the dump tells without debug information.
func (c *collector) fromDump(d *info.Report) {
	r := c.r
	r.Files, r.Format, r.Complete = d.Files, d.Format, d.Complete
	r.Nodename, r.Release, r.Version, r.Machine = d.Kernel.Hostname, d.Kernel.Release, d.Kernel.Version, d.Kernel.Machine
	if level := c.k.Image().Facts().DumpLevel; level >= 0 {
		r.DumpLevel = &level
	}
	r.Panic, r.Cause, r.CommandLine = d.Crash.Panic, d.Crash.Cause, d.Kernel.CommandLine
	r.Coverage.Add(d.Coverage)
	if d.LogError != "" {
		r.Unknown = append(r.Unknown, "log: "+d.LogError)
	}
}

// machine reads names, command line, processors and memory out of the kernel. The
// names in memory are those at the time of the dump.
func (c *collector) machine() {
	c.names()
	if at, err := c.pointer("saved_command_line"); err != nil {
		c.unknown("saved_command_line", err)
	} else if b, err := c.k.CString(at, 4096); err != nil {
		c.unknown("saved_command_line", err)
	} else {
		c.r.CommandLine = cstr.Show(trim(b))
	}
	if khz, err := c.k.Symbol("cpu_khz"); err == nil { // x86 only
		if n, err := c.k.Uint32(khz); err == nil {
			c.r.MHz = uint64(n) / 1000
		}
	}
	var err error
	c.r.Present, err = present(c.k)
	c.unknown("memory of the nodes", err)
	c.r.Managed, err = c.k.Managed()
	c.unknown("memory of the page allocator", err)
}

// names reads init_uts_ns. What it does not tell stays as the dump's header has it.
func (c *collector) names() {
	uts, err := variableOf(c.k, "init_uts_ns", "struct uts_namespace")
	if err != nil {
		c.unknown("init_uts_ns", err)
		return
	}
	for _, f := range []struct {
		member string
		to     *string
	}{{"nodename", &c.r.Nodename}, {"release", &c.r.Release}, {"version", &c.r.Version}, {"machine", &c.r.Machine}} {
		text, err := uts.Field("name." + f.member).Text()
		if err == nil && text != "" {
			*f.to = text
		}
		c.unknown("init_uts_ns.name."+f.member, err)
	}
}

func (c *collector) pointer(symbol string) (uint64, error) {
	at, err := c.k.Symbol(symbol)
	if err != nil {
		return 0, err
	}
	return c.k.Uint64(at)
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\n') {
		b = b[:len(b)-1]
	}
	return b
}

func (c *collector) clock(d *info.Report) {
	date, uptime, err := clock(c.k)
	if err == nil {
		c.r.Date, c.r.DateBy, c.r.Uptime = &date, "the kernel's clock", &uptime
		return
	}
	c.unknown("clock", err)
	c.r.Date, c.r.DateBy, c.r.Uptime = d.Crash.Time, d.Crash.TimeFrom, d.Crash.Uptime
}

// load reads avenrun, which has 11 bits behind the point (FSHIFT,
// include/linux/sched/loadavg.h). /proc/loadavg adds half a hundredth, and so do
// we, to hundredths.
func (c *collector) load() {
	const shift = 11
	const half = (1 << shift) / 200
	at, err := c.k.Symbol("avenrun")
	for i := range uint64(3) {
		var n uint64
		if err == nil {
			n, err = c.k.Uint64(at + 8*i)
		}
		if err != nil {
			c.unknown("avenrun", err)
			c.r.Load = []float64{}
			return
		}
		n += half
		hundredths := (n>>shift)*100 + (n&(1<<shift-1))*100>>shift
		c.r.Load = append(c.r.Load, math.Round(float64(hundredths))/100)
	}
}

func (c *collector) taints() {
	c.r.Taints = []Taint{}
	at, err := c.k.Symbol("tainted_mask") // since 2.6.28
	if err == nil {
		c.r.Tainted, err = c.k.Uint64(at)
	}
	c.unknown("tainted_mask", err)
	c.r.Taints = decodeTaints(c.r.Tainted)
}

// tasks counts the tasks, and finds those that ran.
func (c *collector) tasks(ctx context.Context) error {
	reader, err := task.New(c.k)
	if err != nil {
		return err
	}
	cpus, err := reader.CPUs()
	if err != nil {
		c.r.Coverage.Fail(err)
	}
	c.r.CPUs = len(cpus)
	counts := map[string]*State{}
	count := func(tk *task.Task) {
		c.r.Tasks++
		c.r.Coverage.Read++
		letter := tk.Letter()
		if counts[letter] == nil {
			counts[letter] = &State{Letter: letter, Name: tk.StateName()}
		}
		counts[letter].Count++
	}
	for _, cpu := range cpus {
		if idle, err := reader.At(cpu.Idle); err != nil {
			c.r.Coverage.Fail(err)
		} else {
			count(idle)
		}
		c.running(reader, cpu)
	}
	all, _ := reader.Find(c.r.Coverage.Fail)
	for _, tk := range all {
		count(tk)
	}
	c.states(counts)
	c.panicTask(reader)
	return nil
}

func (c *collector) running(reader *task.Reader, cpu task.CPU) {
	tk, err := reader.At(cpu.Current)
	if err != nil {
		c.r.Coverage.Fail(err)
		return
	}
	c.r.Running = append(c.r.Running, Task{Addr: kernel.Addr(tk.Addr), PID: tk.PID, Comm: tk.Comm, CPU: cpu.Number, State: tk.StateName()})
}

// states lists the counts in the order in which the kernel has the states.
func (c *collector) states(counts map[string]*State) {
	for _, letter := range []string{"R", "S", "D", "I", "T", "t", "P", "N", "Z", "X"} {
		if s := counts[letter]; s != nil {
			c.r.States = append(c.r.States, *s)
		}
	}
}

// panicTask finds who ran on the processor that panicked.
func (c *collector) panicTask(reader *task.Reader) {
	cpu, by, err := reader.PanicCPU()
	if err != nil {
		c.unknown("the processor that panicked", err)
	}
	for i := range c.r.Running {
		if t := &c.r.Running[i]; by != "" && t.CPU == cpu {
			c.r.PanicTask, c.r.PanicBy = t, by
			return
		}
	}
}

// maxLog bounds how many messages are shown from the trouble on.
const maxLog = 60

// log takes the messages from the trouble on.
func (c *collector) log() {
	from := c.r.Cause
	if from == nil {
		from = c.r.Panic
	}
	if from == nil {
		return
	}
	log, err := printk.OpenKernel(c.k)
	if err != nil {
		c.unknown("log", err)
		return
	}
	n := 0
	all, err := info.CollectLog(c.k.Image().Facts(), log, info.LogOptions{Keep: func(rec *printk.Record) bool {
		if rec.Seq >= from.Seq {
			n++
		}
		return rec.Seq >= from.Seq && n <= maxLog
	}})
	if err != nil && all == nil {
		c.unknown("log", err)
		return
	}
	c.r.Log = append(c.r.Log, all.Messages...)
}
