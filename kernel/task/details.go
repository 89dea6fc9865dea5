package task

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/vfs"
)

// Details reads what hangs from tasks: times and priorities, memory, credentials,
// namespaces, control groups, open files. It is safe for use by many goroutines.
type Details struct {
	r     *Reader
	k     *kernel.Kernel
	paths *paths
	more  moreLayout
	proxy nsproxyLayout
	mm    mmReader
	cred  credLayout
	files filesReader
	group groupReader
	inums map[string]uint64 // where a namespace's structure has its inode number, by type
	ticks uint64            // ns in a tick; 0 where times are in ns
}

// moreLayout are the members of struct task_struct (include/linux/sched.h) that
// Reader does not need. What changed:
//   - utime and stime are in ns since 4.11, and in ticks before.
//   - the times of the start are a struct timespec until 3.16, and ns since; the one
//     that counts the time asleep is real_start_time until 5.4, start_boottime since.
//   - a thread's struct pid is pids[0].pid until 4.18, thread_pid since.
//   - the bit frozen exists since 5.2.
type moreLayout struct {
	kernel.Layout `kernel:"struct task_struct"`
	Parent        kernel.U64   `kernel:"real_parent,optional"`
	Leader        kernel.U64   `kernel:"group_leader,optional"`
	MM            kernel.U64   `kernel:"mm,optional"`
	Cred          kernel.U64   `kernel:"real_cred,optional"`
	FS            kernel.U64   `kernel:"fs,optional"`
	Files         kernel.U64   `kernel:"files,optional"`
	Cgroups       kernel.U64   `kernel:"cgroups,optional"`
	ExitCode      kernel.I32   `kernel:"exit_code,optional"`
	OnRQ          kernel.Uint  `kernel:"on_rq|se.on_rq,optional"`
	Prio          kernel.I32   `kernel:"prio,optional"`
	Static        kernel.I32   `kernel:"static_prio,optional"`
	RTPriority    kernel.U32   `kernel:"rt_priority,optional"`
	Policy        kernel.U32   `kernel:"policy,optional"`
	Runtime       kernel.U64   `kernel:"se.sum_exec_runtime,optional"`
	ExecStart     kernel.U64   `kernel:"se.exec_start,optional"`
	Arrival       kernel.U64   `kernel:"sched_info.last_arrival,optional"`
	Queued        kernel.U64   `kernel:"sched_info.last_queued,optional"`
	Delay         kernel.U64   `kernel:"sched_info.run_delay,optional"`
	Runs          kernel.U64   `kernel:"sched_info.pcount,optional"`
	Utime         kernel.U64   `kernel:"utime,optional"`
	Stime         kernel.U64   `kernel:"stime,optional"`
	Start         kernel.Bytes `kernel:"start_time,optional"`
	Boot          kernel.Bytes `kernel:"start_boottime|real_start_time,optional"`
	Voluntary     kernel.U64   `kernel:"nvcsw,optional"`
	Involuntary   kernel.U64   `kernel:"nivcsw,optional"`
	Minor         kernel.U64   `kernel:"min_flt,optional"`
	Major         kernel.U64   `kernel:"maj_flt,optional"`
	Pending       kernel.U64   `kernel:"pending.signal.sig[0],optional"`
	Blocked       kernel.U64   `kernel:"blocked.sig[0],optional"`
	Frozen        kernel.Uint  `kernel:"frozen,optional"`
	Jobctl        kernel.Uint  `kernel:"jobctl,optional"`
	DLRuntime     kernel.U64   `kernel:"dl.dl_runtime,optional"`
	DLDeadline    kernel.U64   `kernel:"dl.dl_deadline,optional"`
	DLPeriod      kernel.U64   `kernel:"dl.dl_period,optional"`
	DLThrottled   kernel.Uint  `kernel:"dl.dl_throttled,optional"`
}

// NewDetails resolves the layouts. Members that the kernel does not have read as
// zero. The error wraps kernel.ErrNotFound where the kernel lacks a structure
// that all releases have.
func NewDetails(r *Reader, fs *vfs.FS) (*Details, error) {
	d := &Details{r: r, k: r.k}
	for _, l := range []any{&d.more, &d.cred, &d.proxy} {
		if err := r.k.Resolve(l); err != nil {
			return nil, fmt.Errorf("details of tasks: %w", err)
		}
	}
	var err error
	if d.paths, err = newPaths(fs); err != nil {
		return nil, fmt.Errorf("details of tasks: %w", err)
	}
	if err := d.mm.resolve(r); err != nil {
		return nil, fmt.Errorf("details of tasks: %w", err)
	}
	if err := d.files.resolve(r.k); err != nil {
		return nil, fmt.Errorf("details of tasks: %w", err)
	}
	d.group.resolve(r.k)
	d.inums = inumOffsets(r.k)
	d.ticks = tickLength(r.k)
	return d, nil
}

// tickLength is how many ns a unit of utime is; 0 for 1. A cputime_t of 64 bits by
// its name is in ns, as kernels with CONFIG_VIRT_CPU_ACCOUNTING_GEN have it; the one
// that counts ticks is an unsigned long.
func tickLength(k *kernel.Kernel) uint64 {
	t, err := k.Type("struct task_struct")
	if err != nil {
		return 0
	}
	f, err := t.Field("utime")
	if err != nil || f.Type.Name != "cputime_t" || strings.Contains(f.Type.Strip().Name, "long long") {
		return 0
	}
	ns, err := k.Object("tick_nsec").Uint()
	if err != nil || ns == 0 {
		return 1e9 / 1000 // CONFIG_HZ of RHEL and CentOS
	}
	return ns
}

// More is what a task_struct says beyond Task. Times are in ns, addresses
// kernel virtual ones.
type More struct {
	Parent, Leader uint64 // virtual addresses of task_structs
	ExitCode       int32  // as wait(2) tells it
	Frozen         bool   // the freezer of cgroup v2, or the older ones, hold it
	OnRQ           bool   // it is on a run queue

	Policy     uint32 // SCHED_NORMAL and the like, see PolicyName
	Prio       int32  // 0 to 99 real-time, 100 to 139 others, -1 SCHED_DEADLINE
	Nice       int32  // -20 to 19
	RTPriority uint32 // 1 to 99 for SCHED_FIFO and SCHED_RR
	// Deadline is set for SCHED_DEADLINE.
	Deadline *Deadline

	Runtime      uint64 // sum_exec_runtime: on a CPU, as the scheduler counts
	User, System uint64 // utime and stime: as the ticks counted
	Start, Boot  uint64 // since boot, without and with the time asleep

	ExecStart uint64 // when its run time was last counted: when it last ran; clock_task of its run queue
	Arrival   uint64 // when it was last put on a CPU; clock of that run queue
	Queued    uint64 // since when it waits for a CPU; 0 if it does not
	Delay     uint64 // it waited for a CPU for so long in all
	Runs      uint64 // how many times it was put on a CPU

	Voluntary, Involuntary uint64 // context switches
	MinorFaults            uint64
	MajorFaults            uint64

	Pending uint64 // signals pending for the thread: bit 0 is signal 1
	Blocked uint64 // signals blocked

	MM uint64 // virtual address of the mm_struct; 0 for a kernel thread, and once it exits
	// FS and Files are the virtual addresses of the fs_struct and the files_struct, which
	// threads share as a rule; 0 once the task exits.
	FS, Files uint64

	cred, cgroups uint64
}

// Deadline are the parameters of SCHED_DEADLINE, in ns: struct sched_dl_entity
// (include/linux/sched.h, since 3.14).
type Deadline struct {
	Runtime, Deadline, Period uint64
	Throttled                 bool // its runtime is used up until the next period
}

// More reads the rest of a task_struct. The error wraps a *kernel.ReadError
// where it cannot be read.
func (d *Details) More(t *Task) (*More, error) {
	l := &d.more
	b, err := d.k.Peek(t.Addr, make([]byte, l.Span()))
	if err != nil {
		return nil, fmt.Errorf("struct task_struct at %#x: %w", t.Addr, err)
	}
	m := &More{
		Parent: l.Parent.Or0(b), Leader: l.Leader.Or0(b), ExitCode: l.ExitCode.Or0(b), OnRQ: l.OnRQ.Or0(b) != 0,
		Policy: l.Policy.Or0(b), Prio: l.Prio.Or0(b), RTPriority: l.RTPriority.Or0(b),
		Runtime: l.Runtime.Or0(b), User: d.cputime(l.Utime.Or0(b)), System: d.cputime(l.Stime.Or0(b)),
		ExecStart: l.ExecStart.Or0(b), Arrival: l.Arrival.Or0(b), Queued: l.Queued.Or0(b), Delay: l.Delay.Or0(b), Runs: l.Runs.Or0(b),
		Voluntary: l.Voluntary.Or0(b), Involuntary: l.Involuntary.Or0(b), MinorFaults: l.Minor.Or0(b), MajorFaults: l.Major.Or0(b),
		Pending: l.Pending.Or0(b), Blocked: l.Blocked.Or0(b),
		MM: l.MM.Or0(b), FS: l.FS.Or0(b), Files: l.Files.Or0(b), cred: l.Cred.Or0(b), cgroups: l.Cgroups.Or0(b),
	}
	if l.Start.Has() {
		m.Start = nanoseconds(l.Start.Get(b))
	}
	if m.Boot = m.Start; l.Boot.Has() {
		m.Boot = nanoseconds(l.Boot.Get(b))
	}
	if l.Static.Has() {
		const defaultPrio = 120 // DEFAULT_PRIO
		m.Nice = l.Static.Get(b) - defaultPrio
	}
	m.Frozen = d.frozen(t, b)
	if m.Policy == policyDeadline && l.DLRuntime.Has() {
		m.Deadline = &Deadline{Runtime: l.DLRuntime.Or0(b), Deadline: l.DLDeadline.Or0(b), Period: l.DLPeriod.Or0(b),
			Throttled: l.DLThrottled.Or0(b) != 0}
	}
	return m, nil
}

// frozen tells whether a freezer holds a task. The bit frozen is also set for a task
// that is stopped: then JOBCTL_TRAP_FREEZE (since 5.2, as the bit) tells whether its
// group is frozen.
func (d *Details) frozen(t *Task, b []byte) bool {
	const trapFreeze = 1 << 23
	l := &d.more
	switch {
	case l.Frozen.Or0(b) != 0:
		return t.State&(stateStopped|stateTraced) == 0 || l.Jobctl.Or0(b)&trapFreeze != 0
	case t.State&stateFrozen != 0:
		return true
	}
	return !l.Frozen.Has() && t.Flags&flagOldFrozen != 0
}

// cputime turns utime or stime into ns.
func (d *Details) cputime(v uint64) uint64 {
	if d.ticks == 0 {
		return v
	}
	return v * d.ticks
}

// nanoseconds reads a time: 8 bytes of ns, or a struct timespec.
func nanoseconds(b []byte) uint64 {
	w := words(b)
	switch len(w) {
	case 1:
		return w[0]
	case 2:
		return w[0]*1e9 + w[1]
	}
	return 0
}

const policyDeadline = 6

// policyNames are the scheduling policies by number (include/uapi/linux/sched.h).
var policyNames = []string{"NORMAL", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE", "EXT"}

// PolicyName is the policy's name without the SCHED_ that it begins with.
func (m *More) PolicyName() string {
	if int(m.Policy) < len(policyNames) {
		return policyNames[m.Policy]
	}
	return fmt.Sprintf("policy %d", m.Policy)
}

// SharedPending are the signals pending for the whole process: bit 0 is signal 1.
// The error is a *kernel.ReadError.
func (d *Details) SharedPending(t *Task) (uint64, error) {
	if t.signal == 0 || !d.r.signal.Pending.Has() {
		return 0, nil
	}
	return d.k.Uint64(t.signal + d.r.signal.Pending.Offset())
}
