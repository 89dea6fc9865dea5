// Package locks answers who blocks whom: which tasks wait for which locks, who holds
// them, which deadlocks there are, and at whom all waiting ends. What package lock
// finds out about each task and lock, this one puts together.
package locks

import (
	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/lock"
)

// Report is the answer. Tasks and locks are named by their index in Graph.
type Report struct {
	Blocked  int `json:"blocked_tasks"`  // that wait for a lock, asleep
	Spinning int `json:"spinning_tasks"` // that wait for a lock on their processors
	// Caution says why even what is certain may be wrong, where the dump gives
	// reason to: the machine went on while its memory was copied.
	Caution string `json:"caution,omitempty"`
	// Deadlocks are told the surest first.
	Deadlocks []Deadlock `json:"deadlocks"`
	// MoreDeadlocks counts those that are not told.
	MoreDeadlocks int `json:"more_deadlocks,omitempty"`
	// Roots are where waiting ends: first the one that most tasks wait for.
	Roots []Root `json:"root_blockers"`
	// Chains are the ways from the tasks chosen by Options to their roots.
	Chains []Chain `json:"chains,omitempty"`
	// Apart says of chosen tasks and locks that nobody waits for them, and they for
	// nobody.
	Apart []string `json:"apart,omitempty"`
	// Graph is who waits for what and who holds what: all of it, or what has to do
	// with the chosen tasks and locks. Its own coverage is part of Coverage.
	Graph    lock.Snapshot     `json:"graph"`
	Findings []finding.Finding `json:"findings"`
	Coverage kernel.Coverage   `json:"coverage"`

	behind func(task int) int // nil once tasks were left out
}

// Deadlock is a cycle: each task waits for the lock that the next one holds, and
// the last one for that of the first.
type Deadlock struct {
	Confidence lock.Confidence `json:"confidence"` // that of its least sure edge
	Text       string          `json:"text"`       // "A holds m1, waits for m2; B holds m2, waits for m1"
	Steps      []Step          `json:"steps"`
	// Knot is how many tasks block each other in all, where cycles share tasks.
	Knot   int `json:"knot_tasks"`
	Behind int `json:"behind_tasks"` // other tasks that wait for these
}

// Step is a task in a deadlock.
type Step struct {
	Task TaskRef `json:"task"`
	// Holds is what the task before it waits for.
	Holds    LockRef         `json:"holds"`
	HoldsBy  lock.Method     `json:"holds_by"`
	HoldSure lock.Confidence `json:"holds_confidence"`
	Waits    LockRef         `json:"waits_for"`
	WaitsBy  lock.Method     `json:"waits_by"`
	WaitSure lock.Confidence `json:"waits_confidence"`
}

// RootKind is what waiting ends at.
type RootKind string

// The kinds of roots.
const (
	RootTask     RootKind = "task"     // it holds what others wait for, and waits for no lock with a known holder
	RootLock     RootKind = "lock"     // nobody is known to hold it
	RootDeadlock RootKind = "deadlock" // tasks that wait for each other
)

// Root is where waiting ends.
type Root struct {
	Kind  RootKind  `json:"kind"`
	Tasks []TaskRef `json:"tasks,omitempty"` // itself, or those of the deadlock
	// Locks are those that it holds and others wait for, or the lock itself.
	Locks  []LockRef `json:"locks"`
	Direct int       `json:"direct"` // tasks that wait for these locks
	All    int       `json:"all"`    // tasks that wait for it, through others too
	// Certain are those of All that the kernel's own structures alone lead to it.
	Certain int  `json:"certain"`
	AtLeast bool `json:"at_least,omitempty"` // All and Certain are lower bounds
	// Confidence is that of the surest edge from a lock to the task.
	Confidence lock.Confidence `json:"confidence"`
	// Longest is for how long the first of those that wait directly has waited, in
	// ns; null where that is not known.
	Longest *uint64 `json:"longest_ns"`
	// WaitsFor is what the root itself waits for, where nobody is known to hold it.
	WaitsFor *LockRef `json:"waits_for,omitempty"`
	Doing    *Doing   `json:"doing,omitempty"` // of a task
	Why      string   `json:"why,omitempty"`   // of a lock: why no holder is named
}

// Doing is what a task was doing.
type Doing struct {
	What     string `json:"what"`               // "waits for I/O", "in user mode", "gone", …
	Function string `json:"function,omitempty"` // that told, or where it is
	// Stack is its stack, the innermost function first, as far as it was asked
	// for.
	Stack []Frame `json:"stack,omitempty"`
	End   string  `json:"stack_end,omitempty"`
}

// Frame is a function on a stack.
type Frame struct {
	PC         kernel.Addr `json:"pc"`
	Name       string      `json:"name"`             // function+0x1a, empty where no symbol is known
	Module     string      `json:"module,omitempty"` // that it is in
	Confidence string      `json:"confidence"`
}

// Chain is the way from a task to where its waiting ends.
type Chain struct {
	Links []Link `json:"links"`
	// Deadlock: it ends in a task or lock that is in it already, or in a cycle.
	Deadlock bool   `json:"deadlock,omitempty"`
	Text     string `json:"text"`
}

// Link is a task and what it waits for; the last one of a chain may wait for
// nothing.
type Link struct {
	Task TaskRef `json:"task"`
	// Waits is what it waits for, null where it waits for no lock.
	Waits *LockRef `json:"waits_for"`
}

// TaskRef names a task of the graph.
type TaskRef struct {
	Index int         `json:"task"` // in Graph.Tasks
	Addr  kernel.Addr `json:"addr"`
	PID   int32       `json:"pid"`
	Comm  string      `json:"comm"`
}

// LockRef names a lock of the graph.
type LockRef struct {
	Index int         `json:"lock"` // in Graph.Locks
	Kind  lock.Kind   `json:"kind"`
	Addr  kernel.Addr `json:"addr"`
	Name  string      `json:"name"` // the variable or the member of an object that it is
}
