package locks

import (
	"fmt"
	"strings"
	"time"

	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/kernel/lock"
)

// Ids of the findings.
const (
	idDeadlock = "locks.deadlock"
	idRoot     = "locks.root-blocker"
	idGone     = "locks.owner-gone"
	idUnowned  = "locks.holder-unknown"
)

// A blocker is worth a warning once ten tasks or ten seconds of waiting are behind
// it, and explains an outage once a hundred tasks are, or the two minutes after which
// khungtaskd speaks up (hung_task_timeout_secs).
const (
	warningTasks  = 10
	criticalTasks = 100
	warningWait   = uint64(10 * time.Second)
	criticalWait  = uint64(120 * time.Second)
)

// maxFindings bounds the findings of one kind; Deadlocks and Roots have all.
const maxFindings = 20

func (b *builder) findings() []finding.Finding {
	list := []finding.Finding{}
	for i := range b.r.Deadlocks {
		if i == maxFindings {
			break
		}
		list = append(list, b.deadlockFinding(&b.r.Deadlocks[i]))
	}
	told := 0
	for i := range b.r.Roots {
		r := &b.r.Roots[i]
		gone := r.Kind == RootTask && b.r.Graph.Tasks[r.Tasks[0].Index].Gone != ""
		if r.Kind == RootDeadlock || told >= maxFindings && !(gone && told < 2*maxFindings) {
			continue
		}
		told++
		list = append(list, b.rootFinding(r))
	}
	return list
}

func (b *builder) deadlockFinding(d *Deadlock) finding.Finding {
	f := finding.Finding{ID: idDeadlock, Severity: finding.Critical, Confidence: finding.Certain,
		Statement: fmt.Sprintf("deadlock of %s: %s", plural(len(d.Steps), "task"), d.Text)}
	switch d.Confidence {
	case lock.Likely:
		f.Confidence, f.Method = finding.Suspected, "a lock or its holder was worked out from a stack"
	case lock.Suspected:
		f.Severity, f.Confidence = finding.Warning, finding.Suspected
		f.Method = "a holder was inferred from the code that a task is in, or from its stack"
		f.Statement = "suspected " + f.Statement
	case lock.Hint:
		f.Severity, f.Confidence = finding.Info, finding.Suspected
		f.Method = "a holder is the last reader of the lock, which may have left it, or has its address where an earlier call may have left it"
		f.Statement = "possible " + f.Statement
	}
	if b.r.Caution != "" {
		f.Confidence, f.Method = finding.Suspected, b.r.Caution
	}
	for i := range d.Steps {
		s := &d.Steps[i]
		f.Evidence = append(f.Evidence, finding.Evidence{
			Fact: fmt.Sprintf("%s holds %s (by %s, %s), waits for %s (by %s, %s)", TaskName(&b.r.Graph.Tasks[s.Task.Index]),
				s.Holds, s.HoldsBy, s.HoldSure, s.Waits, s.WaitsBy, s.WaitSure),
			Command: fmt.Sprintf("locks --task %d", s.Task.PID)})
	}
	if d.Behind > 0 {
		f.Evidence = append(f.Evidence, finding.Evidence{Fact: plural(d.Behind, "more task") + " " + wait(d.Behind) + " for these"})
	}
	f.Advice = []string{"the tasks never go on by themselves; look at the order in which the code takes these locks ('mortem bt' of each task)"}
	return f
}

func severity(r *Root) finding.Severity {
	long := uint64(0)
	if r.Longest != nil {
		long = *r.Longest
	}
	switch {
	case r.All >= criticalTasks || long >= criticalWait:
		return finding.Critical
	case r.All >= warningTasks || long >= warningWait:
		return finding.Warning
	}
	return finding.Info
}

func (b *builder) rootFinding(r *Root) finding.Finding {
	f := finding.Finding{ID: idRoot, Severity: severity(r), Confidence: finding.Certain}
	waiting := plural(r.Direct, "task")
	switch {
	case r.AtLeast:
		waiting += " directly, and more through others"
	case r.All != r.Direct:
		waiting += fmt.Sprintf(" directly, %d in all", r.All)
	}
	for i, l := range r.Locks {
		if i == maxFindings {
			break
		}
		f.Evidence = append(f.Evidence, b.lockEvidence(r, l))
	}
	if r.Kind == RootLock {
		f.ID = idUnowned
		f.Statement = fmt.Sprintf("%s %s for %s, and %s is not known", waiting, wait(r.Direct), r.Locks[0].short(), holderWord(r.Locks[0].Kind))
		if r.Why != "" {
			f.Evidence = append(f.Evidence, finding.Evidence{Fact: r.Why})
		}
		return f
	}
	t := &b.r.Graph.Tasks[r.Tasks[0].Index]
	switch {
	case t.Unread:
		f.ID = idUnowned
		f.Statement = fmt.Sprintf("%s %s for %s, held by task_struct %s: %s", waiting, wait(r.Direct), lockNames(r.Locks), t.Addr, t.Gone)
	case t.Gone != "":
		f.ID, f.Severity = idGone, worse(f.Severity, finding.Warning)
		f.Statement = fmt.Sprintf("%s %s for a lock whose owner is no live task: %s is held by task_struct %s (%s)",
			waiting, wait(r.Direct), lockNames(r.Locks), t.Addr, t.Gone)
		f.Advice = []string{"a task exited, or was killed in the kernel, without releasing the lock: look for an oops or BUG in 'mortem log', and at the code that took the lock"}
	default:
		f.Statement = fmt.Sprintf("%s blocks %s, by %s", TaskName(t), waiting, lockNames(r.Locks))
		f.Evidence = append(f.Evidence, finding.Evidence{Fact: fmt.Sprintf("%s %s", TaskName(t), doingText(r.Doing)), Command: fmt.Sprintf("bt %d", t.PID)})
		if r.Doing != nil && strings.Contains(r.Doing.What, "shrinks the dentry cache") {
			f.Advice = []string{"'mortem dentries' tells what the dentry cache is full of, and 'mortem supers' how many dentries of each file system can be freed"}
		}
	}
	if r.Confidence != lock.Certain {
		f.Confidence, f.Method = finding.Suspected, map[lock.Confidence]string{
			lock.Likely:    "the lock or its holder was worked out from a stack",
			lock.Suspected: "the holder was inferred from the code that it is in, or from its stack",
			lock.Hint:      "it is the last reader of the lock, which may have left it, or has its address where an earlier call may have left it",
		}[r.Confidence]
	}
	return f
}

// doingText is what a root does, as far as it was looked at.
func doingText(d *Doing) string {
	switch {
	case d == nil:
		return "was not looked at"
	case d.Function != "":
		return d.What + ", in " + d.Function
	}
	return d.What
}

// lockEvidence tells how it is known that a root holds a lock.
func (b *builder) lockEvidence(r *Root, l LockRef) finding.Evidence {
	n := len(b.waits[l.Index])
	fact := fmt.Sprintf("%s %s for %s", plural(n, "task"), wait(n), l)
	if state := b.r.Graph.Locks[l.Index].State; state != "" {
		fact += " (" + state + ")"
	}
	if r.Kind == RootTask {
		if h := b.hold(l.Index, r.Tasks[0].Index); h != nil {
			fact += "; held: known " + HoldText(h)
		}
	}
	return finding.Evidence{Fact: fact, Command: "locks --lock " + l.Addr.String()}
}

func lockNames(list []LockRef) string {
	var names []string
	for i, l := range list {
		if i == 3 {
			names = append(names, fmt.Sprintf("%d more", len(list)-i))
			break
		}
		names = append(names, l.short())
	}
	return strings.Join(names, ", ")
}

// wait is the verb for a number of tasks.
func wait(n int) string {
	if n == 1 {
		return "waits"
	}
	return "wait"
}

// holderWord is what somebody who ends a wait is called.
func holderWord(k lock.Kind) string {
	switch k {
	case lock.Completion, lock.WaitQueue, lock.VarWait, lock.Futex, lock.Pipe, lock.Work, lock.Workqueue, lock.RCU, lock.SRCU:
		return "who is to end it"
	case lock.FrozenFS:
		return "who froze it"
	}
	return "its holder"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func worse(a, b finding.Severity) finding.Severity {
	if a.Rank() >= b.Rank() {
		return a
	}
	return b
}
