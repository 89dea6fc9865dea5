// Package system answers which machine a dump is of and how it stood: the banner
// that one wants to see first.
package system

import (
	"time"

	"github.com/kmortem/mortem/analysis/info"
	"github.com/kmortem/mortem/kernel"
)

// Report is the answer. Times are in ns, sizes in bytes.
type Report struct {
	DebugInfo string   `json:"debuginfo"` // what the kernel was read by
	Files     []string `json:"files"`
	Format    string   `json:"format"`
	Complete  bool     `json:"complete"`   // whether the dump has all that its writer meant to put in
	DumpLevel *int     `json:"dump_level"` // makedumpfile's -d: what was left out on purpose; null where the format does not tell

	CPUs    int        `json:"cpus"` // online
	Date    *time.Time `json:"date"` // null where it is not known
	DateBy  string     `json:"date_by"`
	Uptime  *int64     `json:"uptime_ns"`    // the time asleep included
	Load    []float64  `json:"load_average"` // of 1, 5 and 15 minutes; empty where it is not known
	Tasks   uint64     `json:"tasks"`        // threads, idle ones included
	States  []State    `json:"task_states"`
	Running []Task     `json:"running"` // by processor

	Nodename string `json:"nodename"`
	Release  string `json:"release"`
	Version  string `json:"version"`
	Machine  string `json:"machine"`
	MHz      uint64 `json:"mhz,omitempty"` // of the processors, as measured at boot
	// Present is all memory of the machine, Managed what the kernel's page
	// allocator has of it. 0 where it is not known.
	Present uint64 `json:"memory_present_bytes"`
	Managed uint64 `json:"memory_managed_bytes"`

	Panic *info.Line `json:"panic"` // the line of the log that says why it ended, or its last trouble
	Cause *info.Line `json:"cause"` // the trouble right before a panic
	// PanicTask ran on the processor that panicked; null where none did.
	PanicTask *Task          `json:"panic_task"`
	PanicBy   string         `json:"panic_task_by,omitempty"` // the variable that tells the processor
	Log       []info.Message `json:"log"`                     // from the trouble on

	Tainted     uint64  `json:"tainted"`
	Taints      []Taint `json:"taints"`
	CommandLine string  `json:"command_line"`

	// Unknown says what could not be found out and why. What could not be read
	// counts in Coverage.
	Unknown  []string        `json:"unknown"`
	Coverage kernel.Coverage `json:"coverage"`
}

// State is how many tasks are in a state.
type State struct {
	Letter string `json:"letter"`
	Name   string `json:"name"`
	Count  uint64 `json:"count"`
}

// Task is one thread.
type Task struct {
	Addr  kernel.Addr `json:"task"`
	PID   int32       `json:"pid"`
	Comm  string      `json:"comm"`
	CPU   int         `json:"cpu"`
	State string      `json:"state"` // as a word
}

// Taint is a reason why the kernel's own developers would not trust it.
type Taint struct {
	Bit     int    `json:"bit"`
	Letter  string `json:"letter"` // as in the kernel's own messages; empty for one that only a distribution knows
	Meaning string `json:"meaning"`
}
