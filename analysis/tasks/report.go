// Package tasks answers what ran on the machine: every thread with its state,
// times, memory and open files, the run queues, and the groups of tasks that were
// held back.
package tasks

import (
	"github.com/kmortem/mortem/kernel"
)

// Report is the answer. Times are in ns, sizes in bytes.
type Report struct {
	Searched uint64 `json:"searched"` // tasks looked at, idle ones included
	Selected uint64 `json:"selected"` // that the selection left
	Tasks    []Task `json:"tasks"`
	// Differences are tasks that only one of the two ways leads to: the task list
	// and the pid structures. One may be a task in the middle of fork or exit; more
	// are damage, or something that hides.
	Differences []Difference `json:"differences"`
	Queues      []Queue      `json:"run_queues,omitempty"`
	Groups      []Group      `json:"bandwidth_groups,omitempty"` // that have a quota, or are throttled
	// MemoryTotal is what a task's share of memory is taken of: the pages that the
	// kernel manages. 0 if not known.
	MemoryTotal uint64 `json:"memory_total_bytes"`
	// UnreadUser counts the command lines and environments that are not in the dump,
	// because the memory of programs was left out of it, or swapped out. They are
	// not part of the coverage.
	UnreadUser uint64          `json:"unread_user_memory"`
	Unknown    []string        `json:"unknown,omitempty"` // what was asked for by name or number and is not in the dump
	Coverage   kernel.Coverage `json:"coverage"`
}

// Difference is a task that is missing from where others are.
type Difference struct {
	Addr kernel.Addr `json:"task"`
	PID  int32       `json:"pid"`
	Comm string      `json:"comm"`
	Only string      `json:"only_in"` // "task list" or "pid structures"
}

// Task is one thread.
type Task struct {
	Addr      kernel.Addr `json:"task"`
	PID       int32       `json:"pid"`  // of the thread, in the first pid namespace
	TGID      int32       `json:"tgid"` // of its process
	PPID      int32       `json:"ppid"` // of its parent's process
	Comm      string      `json:"comm"`
	State     string      `json:"state"` // one letter
	StateName string      `json:"state_name"`
	Crash     string      `json:"state_crash"` // two letters, as crash has them
	CPU       int         `json:"cpu"`         // where it is or last was, -1 if unknown
	Running   bool        `json:"running"`     // a processor had it
	Idle      bool        `json:"idle"`        // the idle task of its processor
	Kernel    bool        `json:"kernel"`      // a kernel thread
	Frozen    bool        `json:"frozen,omitempty"`
	ExitCode  *Exit       `json:"exit,omitempty"` // once it exited
	Flags     kernel.Addr `json:"flags"`          // PF_*
	FlagNames []string    `json:"flag_names"`
	VSZ       uint64      `json:"vsz_bytes"`
	RSS       uint64      `json:"rss_bytes"`
	Percent   float64     `json:"memory_percent"` // RSS of Report.MemoryTotal

	Sched    *Sched   `json:"sched,omitempty"`
	Memory   *Memory  `json:"memory,omitempty"`
	Identity *Who     `json:"identity,omitempty"`
	Signals  *Signals `json:"signals,omitempty"`
	Place    *Place   `json:"place,omitempty"`
	Files    []File   `json:"files,omitempty"`
	Mounts   []Mount  `json:"mounts,omitempty"` // in its mount namespace and below its root, with Options.Mounts
	Program  *Program `json:"program,omitempty"`
}

// Exit is how a task ended.
type Exit struct {
	Status int32 `json:"status"`           // as it gave to exit(2)
	Signal int32 `json:"signal,omitempty"` // that killed it
	Core   bool  `json:"core,omitempty"`
}

// Sched is how a task was scheduled.
type Sched struct {
	Policy   string    `json:"policy"` // NORMAL, FIFO, RR, BATCH, IDLE, DEADLINE, EXT
	Prio     int32     `json:"prio"`   // 0 to 99 real-time, 100 to 139 others, -1 deadline
	Nice     int32     `json:"nice"`
	RTPrio   uint32    `json:"rt_priority,omitempty"` // 1 to 99
	Deadline *Deadline `json:"deadline,omitempty"`
	Runtime  uint64    `json:"run_ns"` // on a processor
	User     uint64    `json:"user_ns"`
	System   uint64    `json:"system_ns"`
	Start    uint64    `json:"start_ns"` // since boot, the time asleep included
	// RanAgo is how long before the dump it last ran, SwitchedAgo how long before
	// it that it was last put on a processor, null where it never was or the kernel
	// does not count it. WaitsFor is since when it waits for a processor.
	RanAgo      *uint64 `json:"ran_ago_ns"`
	SwitchedAgo *uint64 `json:"switched_in_ago_ns"`
	WaitsFor    *uint64 `json:"waits_for_cpu_ns"`
	Delay       uint64  `json:"waited_for_cpu_ns"` // in all
	Runs        uint64  `json:"runs"`              // times put on a processor
	Voluntary   uint64  `json:"voluntary_switches"`
	Involuntary uint64  `json:"involuntary_switches"`
	MinorFaults uint64  `json:"minor_faults"`
	MajorFaults uint64  `json:"major_faults"`
}

// Deadline are the parameters of SCHED_DEADLINE.
type Deadline struct {
	Runtime   uint64 `json:"runtime_ns"`
	Deadline  uint64 `json:"deadline_ns"`
	Period    uint64 `json:"period_ns"`
	Throttled bool   `json:"throttled"` // its runtime is used up
}

// Memory is a task's address space.
type Memory struct {
	MM    kernel.Addr `json:"mm"`
	File  uint64      `json:"rss_file_bytes"`
	Anon  uint64      `json:"rss_anon_bytes"`
	Shmem uint64      `json:"rss_shmem_bytes"`
	Swap  uint64      `json:"swap_bytes"`
}

// Who is what a task is allowed to do, and which namespaces and groups it is in.
type Who struct {
	UID     uint32   `json:"uid"`
	EUID    uint32   `json:"euid"`
	SUID    uint32   `json:"suid"`
	FSUID   uint32   `json:"fsuid"`
	GID     uint32   `json:"gid"`
	EGID    uint32   `json:"egid"`
	SGID    uint32   `json:"sgid"`
	FSGID   uint32   `json:"fsgid"`
	Groups  []uint32 `json:"groups"`
	CapEff  string   `json:"cap_effective"` // hexadecimal, as in /proc/PID/status
	CapPerm string   `json:"cap_permitted"`
	// Numbers are the thread's pids, that of the first namespace first.
	Numbers    []int32           `json:"ns_pids"`
	Namespaces map[string]uint32 `json:"namespaces"` // inode numbers by kind
	Cgroups    []Cgroup          `json:"cgroups"`
}

// Cgroup is a control group; the hierarchy of version 2 has the number 0.
type Cgroup struct {
	Hierarchy   int      `json:"hierarchy"`
	Controllers []string `json:"controllers,omitempty"`
	Path        string   `json:"path"`
}

// Signals are those that wait to be delivered, by name, and those that are blocked.
type Signals struct {
	Pending []string `json:"pending"`
	Shared  []string `json:"pending_for_process"`
	Blocked string   `json:"blocked"` // hexadecimal; bit 0 is signal 1
}

// Place is where in the file system a task is.
type Place struct {
	Root string `json:"root"`
	Cwd  string `json:"cwd"`
	Exe  string `json:"exe,omitempty"`
}

// Mount is a mount, as /proc/PID/mountinfo tells it.
type Mount struct {
	Addr   kernel.Addr `json:"mount"` // of the struct mount
	ID     int32       `json:"id"`
	Parent int32       `json:"parent_id"` // of the mount that it is on
	Major  uint32      `json:"major"`
	Minor  uint32      `json:"minor"`
	Inside string      `json:"root"` // what of the file system is mounted
	Path   string      `json:"path"` // where, seen from the task's root
	Type   string      `json:"type"`
	Source string      `json:"source"`
	// Options are those of the mount, Super those that all file systems have; what
	// is particular to one type is not known.
	Options []string    `json:"options"`
	Super   []string    `json:"super_options"`
	SB      kernel.Addr `json:"super_block"`
}

// File is an open file.
type File struct {
	FD     int         `json:"fd"`
	Addr   kernel.Addr `json:"file"`
	Dentry kernel.Addr `json:"dentry"`
	Inode  kernel.Addr `json:"inode"`
	Type   string      `json:"type"` // "regular file", "fifo", …; "none" for an anonymous inode, empty if not known
	Path   string      `json:"path"`
	Flags  []string    `json:"flags"`
	Pos    int64       `json:"pos"`
}

// Program is what a process was started with, from its own memory. Escaped.
type Program struct {
	Args    []string `json:"args"`
	ArgsWhy string   `json:"args_unread,omitempty"` // why Args are missing or cut short
	Env     []string `json:"env,omitempty"`
	EnvWhy  string   `json:"env_unread,omitempty"`
}

// Queue is a processor's run queue.
type Queue struct {
	CPU      int         `json:"cpu"`
	Addr     kernel.Addr `json:"rq"`
	Running  uint64      `json:"nr_running"`
	Switches uint64      `json:"nr_switches"`
	IOWait   int32       `json:"nr_iowait"`
	Clock    uint64      `json:"clock_ns"`
	Current  Queued      `json:"current"`
	Stopper  *Queued     `json:"stopper,omitempty"` // where it is to run
	Fair     []Queued    `json:"fair"`
	RealTime []Queued    `json:"real_time"`
	Deadline []Queued    `json:"deadline"`
	// RTThrottled: the real-time tasks have used up RTRuntime.
	RTThrottled bool   `json:"rt_throttled"`
	RTRuntime   uint64 `json:"rt_runtime_ns"`
	RTTime      uint64 `json:"rt_time_ns"`
}

// Queued is a task on a run queue.
type Queued struct {
	Addr     kernel.Addr `json:"task"`
	PID      int32       `json:"pid"`
	TGID     int32       `json:"tgid"`
	Comm     string      `json:"comm"`
	State    string      `json:"state"`
	Group    kernel.Addr `json:"task_group,omitempty"`
	Current  bool        `json:"current,omitempty"`
	Delayed  bool        `json:"delayed,omitempty"` // sleeps, and stays queued to lose its lead
	Vruntime uint64      `json:"vruntime,omitempty"`
	Prio     int         `json:"prio"` // 0 to 99 real-time, 100 to 139 others, -1 deadline
	Deadline uint64      `json:"deadline_ns,omitempty"`
}

// Group is a group of tasks with a quota of processor time.
type Group struct {
	Addr      kernel.Addr  `json:"task_group"`
	Path      string       `json:"cgroup"`
	Limited   bool         `json:"limited"` // it has a quota of its own
	Quota     uint64       `json:"quota_ns"`
	Period    uint64       `json:"period_ns"`
	Burst     uint64       `json:"burst_ns"`
	Left      uint64       `json:"left_ns"`      // of the quota, in the common pool
	Periods   uint64       `json:"nr_periods"`   // that passed while it wanted to run
	Throttles uint64       `json:"nr_throttled"` // in so many of these it was throttled
	Time      uint64       `json:"throttled_ns"` // for so long
	Throttled bool         `json:"throttled"`    // on some processor, by itself or by a group above
	Queues    []GroupQueue `json:"queues"`
}

// GroupQueue is what a group has on one processor.
type GroupQueue struct {
	CPU       int         `json:"cpu"`
	Addr      kernel.Addr `json:"cfs_rq"`
	Throttled bool        `json:"throttled"`       // by itself
	Depth     int         `json:"throttled_above"` // how many of it and the groups above are throttled
	Remaining int64       `json:"runtime_remaining_ns"`
	Expires   uint64      `json:"runtime_expires_ns,omitempty"`
	// Ago is how long before the dump it was throttled; null where it is not, or
	// that is not known.
	Ago   *uint64  `json:"throttled_ago_ns"`
	Tasks []Queued `json:"tasks"`
}
