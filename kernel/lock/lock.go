// Package lock answers what each blocked or spinning task of a dump waits for,
// and who holds that.
//
// Everything in a Snapshot is a plain list: tasks, locks, and between them the
// edges, a Wait from a task to a lock and a Hold from a lock to a task. Edges name
// their ends by index. An edge says by which method it was found and how sure it
// is; where nothing but inference leads to a holder, it says that and shows its
// evidence. What could not be found out is said too: tasks whose wait is not
// understood are in Unexplained, and what could not be read is in Coverage.
package lock

import (
	"github.com/kmortem/mortem/kernel"
)

// Kind is what sort of lock it is, by the kernel's own name for it. Some are no
// locks in the strict sense: whatever one task waits for and another one (or
// nobody) can end.
type Kind string

// The kinds.
const (
	Mutex       Kind = "mutex"
	WWMutex     Kind = "ww_mutex"
	RTMutex     Kind = "rt_mutex" // also of a PI futex
	RWSem       Kind = "rw_semaphore"
	PercpuRWSem Kind = "percpu_rw_semaphore"
	// FrozenFS is the percpu_rw_semaphore of a level of freezing in
	// super_block.s_writers (fsfreeze).
	FrozenFS  Kind = "frozen file system"
	Semaphore Kind = "semaphore"

	Spinlock Kind = "spinlock"
	RWLock   Kind = "rwlock"
	Seqlock  Kind = "seqlock" // its spinlock, or readers that spin while a writer is inside
	Lockref  Kind = "lockref" // such as dentry.d_lockref

	BitLock    Kind = "bit lock" // wait_on_bit, wait_on_bit_lock, bit_spin_lock; see Lock.Bit
	FolioLock  Kind = "folio lock"
	Writeback  Kind = "folio writeback"
	BufferLock Kind = "buffer lock"
	HlistBL    Kind = "hlist_bl lock" // bit 0 of a struct hlist_bl_head
	VarWait    Kind = "variable"      // wait_var_event

	Completion Kind = "completion"
	WaitQueue  Kind = "wait queue" // of any other purpose; Lock.Purpose says more where it is known
	Work       Kind = "work"       // flush_work and the like; held by the worker that runs it
	Workqueue  Kind = "workqueue"  // flush_workqueue, drain_workqueue
	RCU        Kind = "RCU"        // a grace period; held by what keeps it from ending
	SRCU       Kind = "SRCU"
	Pipe       Kind = "pipe"
	Flock      Kind = "flock"
	POSIXLock  Kind = "POSIX lock"
	Lease      Kind = "lease"
	Futex      Kind = "futex"
)

// Mode is how a lock that knows the difference is taken.
type Mode string

// The modes. Locks without readers and writers have the empty one.
const (
	Read  Mode = "read"
	Write Mode = "write"
)

// Method is how an edge was found.
type Method string

// The methods, from those of waits to those of holders.
const (
	ByBlockedOn Method = "task.blocked_on" // struct task_struct, mutexes
	ByBlocker   Method = "task.blocker"    // what khungtaskd looks at, since 6.16
	ByPI        Method = "task.pi_blocked_on"
	ByLockdep   Method = "held_locks"    // lockdep
	ByWaitList  Method = "wait list"     // a waiter on the task's own stack, to which the lock's list leads
	ByArgument  Method = "argument"      // of a frame, by DWARF or the caller's instructions
	ByRegister  Method = "register"      // at the spin
	ByQueueNode Method = "queue node"    // per-CPU node of a queued lock
	ByMember    Method = "task's member" // such as wait_chan, audited by the structure it leads to

	ByOwner  Method = "owner"  // the lock's own owner field
	ByReader Method = "reader" // the last reader, which may have left
	ByRecord Method = "record" // another structure says who: a worker's current work, a file_lock's owner
	ByCode   Method = "code"   // the task is inside a function that took the lock and has not released it
	ByStack  Method = "stack"  // the lock's address is on the task's stack or in its registers
)

// Confidence is how sure an edge is.
type Confidence string

// The confidences.
const (
	// Certain is what the kernel's own structures say.
	Certain Confidence = "certain"
	// Likely is what can hardly be otherwise, such as a lock that was worked out
	// from a frame's argument.
	Likely Confidence = "likely"
	// Suspected is inference; the Evidence says from what.
	Suspected Confidence = "suspected"
	// Hint is weaker than a suspicion, such as the last reader.
	Hint Confidence = "hint"
)

// Task is a thread that waits or holds.
type Task struct {
	Addr    kernel.Addr `json:"addr"` // virtual address of the task_struct
	PID     int32       `json:"pid"`  // thread id
	TGID    int32       `json:"tgid"`
	Comm    string      `json:"comm"`  // escaped
	State   string      `json:"state"` // task.Task.Letter
	CPU     int         `json:"cpu"`   // where it runs or last ran, -1 if not known
	Running bool        `json:"running,omitempty"`
	Kthread bool        `json:"kthread,omitempty"`
	// Gone says why a lock's owner is no live task: its task_struct was freed
	// or cannot be read. Only Addr is of use then.
	Gone string `json:"gone,omitempty"`
	// Unread tells that it may be live all the same: the tasks could not be listed
	// whole, and its task_struct cannot be read. Gone says so too.
	Unread bool `json:"unread,omitempty"`
	// Doing is the innermost function of its stack that is not the scheduler's.
	Doing string `json:"doing,omitempty"`
	// Blocked is for how long it has been off its CPU, in ns, where Since
	// tells; for one that spins, how long it has been on it.
	Blocked   uint64 `json:"blocked_ns,omitempty"`
	BlockedOK bool   `json:"blocked_known"`
}

// Object is what a lock is a part of.
type Object struct {
	Addr   kernel.Addr `json:"addr"`             // virtual address of the object's start
	Type   string      `json:"type,omitempty"`   // such as "struct inode"
	Member string      `json:"member,omitempty"` // such as "i_rwsem"
	Cache  string      `json:"cache,omitempty"`  // the slab cache it is from
	Path   string      `json:"path,omitempty"`   // of a dentry, an inode, a mount; escaped
	Super  string      `json:"super,omitempty"`  // file system type and id of a super_block
	PID    int32       `json:"pid,omitempty"`    // the process of an mm_struct, signal_struct, task_struct
	Comm   string      `json:"comm,omitempty"`   // its name
	// By is how the object was found.
	By string `json:"by,omitempty"`
}

// Lock is what tasks wait for.
type Lock struct {
	Kind Kind        `json:"kind"`
	Addr kernel.Addr `json:"addr"`          // virtual address of the structure, or of the word of a bit lock; of a Futex in user memory, see Purpose
	Bit  int         `json:"bit,omitempty"` // of a BitLock
	// Symbol is the variable that it is or lies in, such as "rtnl_mutex" or
	// "init_task+0x8d0"; empty for one in allocated memory.
	Symbol string  `json:"symbol,omitempty"`
	Object *Object `json:"object,omitempty"`
	// Purpose is what a wait queue or completion is for, a work's function, a
	// workqueue's name, and which block of a disk or page of a file it is, where
	// that is known.
	Purpose string `json:"purpose,omitempty"`
	// State is what its own words say, such as "locked, 3 waiters".
	State string `json:"state,omitempty"`
	// Queue is the number of entries on its own wait list, -1 where it has
	// none or it cannot be read.
	Queue int `json:"queue"`
	// Held tells whether its own words say that it is held; HeldKnown, whether
	// they can tell.
	Held      bool `json:"held"`
	HeldKnown bool `json:"held_known"`
	// NoHolder says why no holder is named, where none is.
	NoHolder string `json:"no_holder,omitempty"`
	// Broken says where its own list or owner could not be followed.
	Broken string `json:"broken,omitempty"`
}

// Evidence is what an edge rests on. All fields are optional.
type Evidence struct {
	// Function is the one whose frame tells, Frame its number from the
	// innermost, 0, and PC where it was.
	Function string      `json:"function,omitempty"`
	Frame    int         `json:"frame,omitempty"`
	PC       kernel.Addr `json:"pc,omitempty"`
	// Call is the instruction that took the lock, and Called the function that
	// it calls.
	Call     kernel.Addr `json:"call,omitempty"`
	CallName string      `json:"call_name,omitempty"` // function+0x1a/0x60
	Called   string      `json:"called,omitempty"`
	// Register or Slot is where the lock's or waiter's address was found: a
	// register of that frame, or a virtual address on a stack.
	Register string      `json:"register,omitempty"`
	Slot     kernel.Addr `json:"slot,omitempty"`
	// Value is the word that was found, such as an owner field with its flags.
	Value kernel.Addr `json:"value,omitempty"`
	// Text says it in words.
	Text string `json:"text,omitempty"`
}

// Wait is the edge from a task to the lock that it waits for. A task has no
// more than one.
type Wait struct {
	Task int  `json:"task"` // index into Snapshot.Tasks
	Lock int  `json:"lock"` // index into Snapshot.Locks
	Mode Mode `json:"mode,omitempty"`
	// Spinning tells that it keeps its CPU meanwhile.
	Spinning bool `json:"spinning,omitempty"`
	// Methods are all that led to this lock, the first one first.
	Methods  []Method   `json:"methods"`
	Sure     Confidence `json:"confidence"`
	Evidence Evidence   `json:"evidence"`
	// Position is its place in the lock's queue, from 0 for the next; -1 where
	// that is not known.
	Position int `json:"position"`
	// For is how long it has waited, in ns, where Known tells.
	For   uint64 `json:"for_ns,omitempty"`
	Known bool   `json:"for_known"`
}

// Hold is the edge from a lock to a task that holds it, or is suspected to.
type Hold struct {
	Lock     int        `json:"lock"` // index into Snapshot.Locks
	Task     int        `json:"task"` // index into Snapshot.Tasks
	Mode     Mode       `json:"mode,omitempty"`
	Method   Method     `json:"method"`
	Sure     Confidence `json:"confidence"`
	Evidence []Evidence `json:"evidence,omitempty"`
}

// Unexplained is a task that sleeps uninterruptibly, or spins, for a reason that
// was not found.
type Unexplained struct {
	Task int    `json:"task"` // index into Snapshot.Tasks
	At   string `json:"at,omitempty"`
	Why  string `json:"why"`
}

// Snapshot is who waits for what and who holds it, as the dump shows it. Holds are in
// the order of their locks, the surest first.
// Coverage counts the stacks, waiters, locks and owners that were read.
type Snapshot struct {
	Tasks       []Task          `json:"tasks"`
	Locks       []Lock          `json:"locks"`
	Waits       []Wait          `json:"waits"`
	Holds       []Hold          `json:"holds"`
	Unexplained []Unexplained   `json:"unexplained,omitempty"`
	Coverage    kernel.Coverage `json:"coverage"`
}

// WaitOf is the wait of a task, given by its index, nil where it has none.
func (s *Snapshot) WaitOf(task int) *Wait {
	for i := range s.Waits {
		if s.Waits[i].Task == task {
			return &s.Waits[i]
		}
	}
	return nil
}
