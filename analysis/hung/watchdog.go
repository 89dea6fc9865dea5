package hung

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/sched"
	"github.com/kmortem/mortem/kernel/task"
)

// khungLayout are the members of struct task_struct by which khungtaskd knows that a
// task was not switched in since it last looked (kernel/hung_task.c; with
// CONFIG_DETECT_HUNG_TASK).
type khungLayout struct {
	kernel.Layout `kernel:"struct task_struct"`
	Voluntary     kernel.U64 `kernel:"nvcsw,optional"`
	Involuntary   kernel.U64 `kernel:"nivcsw,optional"`
	Last          kernel.U64 `kernel:"last_switch_count,optional"`
}

// seen tells whether khungtaskd has counted a task's switches, and none came since.
func (l *khungLayout) seen(k *kernel.Kernel, addr uint64) bool {
	if !l.Last.Has() || !l.Voluntary.Has() || !l.Involuntary.Has() {
		return false
	}
	b, err := k.Peek(addr, make([]byte, l.Span()))
	if err != nil {
		return false
	}
	last := l.Last.Get(b)
	return last != 0 && last == l.Voluntary.Get(b)+l.Involuntary.Get(b)
}

// readSettings reads the watchdogs' variables.
func readSettings(k *kernel.Kernel) Settings {
	var s Settings
	s.Timeout = number64(k, "sysctl_hung_task_timeout_secs")
	s.Panic = number64(k, "sysctl_hung_task_panic")
	if n := number64(k, "sysctl_hung_task_warnings"); n != nil {
		v := int64(*n)
		if t, err := k.Object("sysctl_hung_task_warnings").Int(); err == nil {
			v = t
		}
		s.Warnings = &v
	}
	if n := number64(k, "watchdog_thresh"); n != nil { // since 2.6.36; twice of it since then
		twice := 2 * *n
		s.SoftLock = &twice
	} else {
		s.SoftLock = number64(k, "softlockup_thresh")
	}
	for _, name := range []string{"soft_watchdog_user_enabled", "watchdog_softlockup_user_enabled", "watchdog_user_enabled", "watchdog_enabled"} {
		if n := number64(k, name); n != nil {
			on := *n != 0
			s.Enabled = &on
			break
		}
	}
	return s
}

// number64 reads a variable that is a number, nil where there is none.
func number64(k *kernel.Kernel, name string) *uint64 {
	if !k.HasSymbol(name) {
		return nil
	}
	n, err := k.Object(name).Uint()
	if err != nil {
		// Its type is not known: these are all int or unsigned long.
		addr, err := k.Symbol(name)
		if err != nil {
			return nil
		}
		v, err := k.Uint32(addr)
		if err != nil {
			return nil
		}
		n = uint64(v)
	}
	return &n
}

// Per-CPU variables that had several names over time, and the prefix per_cpu__ until
// 2.6.32: kernel/softlockup.c, kernel/watchdog.c since 2.6.36, kernel/watchdog_hld.c
// from 4.10 to 6.4.
var (
	touchNames = []string{"watchdog_touch_ts", "softlockup_touch_ts", "touch_timestamp"}
	warnNames  = []string{"soft_watchdog_warn"}
	hardNames  = []string{"watchdog_hardlockup_warned", "hard_watchdog_warn"}
)

// watchdogUnit is what watchdog_touch_ts counts in: running_clock() >> 30 ns.
const watchdogUnit = 1 << 30

// processors reads who runs on each processor, and what its watchdog says.
func (a *analyzer) processors() error {
	queues, err := sched.New(a.tasks)
	if err != nil {
		return err
	}
	list, errs := queues.Queues()
	for _, err := range errs {
		a.r.Coverage.Fail(err)
	}
	now := uint64(0)
	for i := range list {
		now = max(now, list[i].Clock)
	}
	for i := range list {
		q := &list[i]
		c := CPU{Number: q.CPU, Task: kernel.Addr(q.Current), Idle: q.Current == q.Idle}
		tk, err := a.tasks.At(q.Current)
		if err != nil {
			a.r.Coverage.Fail(fmt.Errorf("task of CPU %d: %w", q.CPU, err))
		} else {
			c.PID, c.Comm = tk.PID, tk.Comm
		}
		a.watchdog(&c, now)
		a.r.CPUs = append(a.r.CPUs, c)
	}
	return nil
}

// watchdog reads the watchdog's variables of a processor.
func (a *analyzer) watchdog(c *CPU, now uint64) {
	c.Warned = a.perCPU(c.Number, 1, warnNames) != 0
	c.WarnedHard = a.perCPU(c.Number, 1, hardNames) != 0
	touched := a.perCPU(c.Number, 8, touchNames)
	// 0 means: to be set at the next tick.
	if touched == 0 || touched > now/watchdogUnit || a.r.Settings.Enabled != nil && !*a.r.Settings.Enabled {
		return
	}
	stuck := now - touched*watchdogUnit
	if unit := uint64(watchdogUnit); stuck > unit {
		stuck -= unit // the time was rounded down
	} else {
		stuck = 0
	}
	c.Stuck = &stuck
	if limit := a.r.Settings.SoftLock; limit != nil && *limit > 0 {
		c.Soft = stuck > *limit*1e9
	}
}

// perCPU reads a processor's copy of a variable of 1 or 8 bytes, 0 where there is
// none.
func (a *analyzer) perCPU(cpu, size int, names []string) uint64 {
	for _, name := range names {
		variable, err := a.k.Symbol(name)
		if err != nil {
			if variable, err = a.k.Symbol("per_cpu__" + name); err != nil {
				continue
			}
		}
		addr, err := a.k.PerCPU(variable, uint64(cpu))
		if err != nil {
			continue
		}
		if size == 8 {
			v, err := a.k.Uint64(addr)
			if err != nil {
				a.r.Coverage.Fail(fmt.Errorf("%s of CPU %d: %w", name, cpu, err))
			}
			return v
		}
		var b [1]byte
		if _, err := a.k.Read(b[:], addr); err != nil {
			a.r.Coverage.Fail(fmt.Errorf("%s of CPU %d: %w", name, cpu, err))
		}
		return uint64(b[0])
	}
	return 0
}

// liveTasks finds the tasks by number. whole tells that none is missing.
func (a *analyzer) liveTasks() (byPID map[int32]*task.Task, whole bool) {
	list, whole := a.tasks.Find(a.r.Coverage.Fail)
	byPID = make(map[int32]*task.Task, len(list))
	for _, tk := range list {
		byPID[tk.PID] = tk
	}
	return byPID, whole
}
