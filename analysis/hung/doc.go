// Package hung answers who has been stuck for how long: tasks that do not leave the
// uninterruptible sleep, with who is to blame; processors that do not schedule, with
// what they run; and what the kernel's own watchdogs said about both in the log.
package hung

import (
	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/analysis/locks"
	"github.com/kmortem/mortem/kernel"
)

// Report is the answer.
type Report struct {
	Settings Settings `json:"settings"`
	// Tasks are those in uninterruptible sleep, the one that has been for the
	// longest first.
	Tasks []Task `json:"tasks"`
	// Groups are these tasks, those together that have equal stacks and wait for the
	// same root blocker; the largest group first.
	Groups []Group `json:"groups"`
	// CPUs are the processors with what they run.
	CPUs []CPU `json:"cpus"`
	// Messages are the watchdogs' lines in the log, the oldest first.
	Messages []Message `json:"messages"`
	// LogError says why the log could not be read, or not all of it.
	LogError string            `json:"log_error,omitempty"`
	Findings []finding.Finding `json:"findings"`
	Coverage kernel.Coverage   `json:"coverage"`
}

// Settings are the watchdogs' own variables; null where the kernel does not have
// them or the dump does not hold them.
type Settings struct {
	Timeout  *uint64 `json:"hung_task_timeout_s"`       // sysctl_hung_task_timeout_secs; 0: khungtaskd is off
	Warnings *int64  `json:"hung_task_warnings_left"`   // sysctl_hung_task_warnings; -1: no limit
	Panic    *uint64 `json:"hung_task_panic"`           // sysctl_hung_task_panic
	SoftLock *uint64 `json:"soft_lockup_threshold_s"`   // twice watchdog_thresh, softlockup_thresh in the oldest
	Enabled  *bool   `json:"soft_lockup_watch_enabled"` // watchdog_enabled
}

// Task is one in uninterruptible sleep.
type Task struct {
	Addr kernel.Addr `json:"addr"` // virtual address of the task_struct
	PID  int32       `json:"pid"`
	TGID int32       `json:"tgid"`
	Comm string      `json:"comm"` // escaped
	// Blocked is for how long, in ns; null where that is not known.
	Blocked *uint64 `json:"blocked_ns"`
	// Hung: it has been for longer than khungtaskd tolerates.
	Hung bool `json:"hung"`
	// Seen: khungtaskd has seen that it was not switched in since its last look.
	Seen  bool   `json:"seen_by_khungtaskd,omitempty"`
	Waits string `json:"waits_for,omitempty"` // the lock
	// Root is who all this waiting ends at.
	Root     string        `json:"root_blocker,omitempty"`
	RootTask *kernel.Addr  `json:"root_task,omitempty"` // where it is a task
	Doing    *locks.Doing  `json:"doing"`
	Group    int           `json:"group"`              // index into Report.Groups
	Messages []int         `json:"messages,omitempty"` // indexes into Report.Messages
	stack    []locks.Frame // of its own
}

// Group is tasks with equal stacks and one root blocker.
type Group struct {
	Tasks   []int         `json:"tasks"` // indexes into Report.Tasks
	Root    string        `json:"root_blocker,omitempty"`
	What    string        `json:"what"` // they do
	Longest *uint64       `json:"longest_ns"`
	Stack   []locks.Frame `json:"stack"` // of one of them
	End     string        `json:"stack_end"`
}

// CPU is a processor.
type CPU struct {
	Number int         `json:"cpu"`
	Task   kernel.Addr `json:"task,omitempty"` // that it runs
	PID    int32       `json:"pid"`
	Comm   string      `json:"comm"`
	Idle   bool        `json:"idle"` // it runs its idle task
	// Stuck is for how long its watchdog has not run, in ns and at least so long;
	// null where the kernel does not count it.
	Stuck *uint64 `json:"stuck_ns"`
	// Soft: its watchdog has not run for longer than the threshold. Warned: the
	// kernel's own mark that it has reported a soft lockup that is not over;
	// WarnedHard, a hard one.
	Soft       bool          `json:"soft_lockup"`
	Warned     bool          `json:"soft_lockup_reported"`
	WarnedHard bool          `json:"hard_lockup_reported"`
	Doing      *locks.Doing  `json:"doing,omitempty"`
	Stack      []locks.Frame `json:"stack,omitempty"`
	Messages   []int         `json:"messages,omitempty"` // indexes into Report.Messages
	// Spins is the lock that it spins for, Blocks how many tasks wait for what it
	// runs.
	Spins  string `json:"spins_for,omitempty"`
	Blocks int    `json:"blocks_tasks,omitempty"`
	// HeldBy are the tasks that hold the lock that it spins for, each with how sure
	// that is.
	HeldBy []string `json:"held_by,omitempty"`
}
