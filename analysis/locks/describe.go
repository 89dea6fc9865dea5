package locks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kmortem/mortem/kernel/lock"
)

// Name is what a lock is called: the variable, the member and the object that it is
// part of, or else its address.
func Name(l *lock.Lock) string {
	name := l.Symbol
	if name == "" {
		name = purposeName(l)
	}
	if o := l.Object; name == "" && o != nil {
		name = objectName(o)
	}
	if name == "" {
		name = l.Addr.String()
	}
	switch l.Kind {
	case lock.RCU:
		if strings.Contains(l.Purpose, "expedited") {
			name += " (expedited)"
		}
	case lock.BitLock:
		name = fmt.Sprintf("bit %d of %s", l.Bit, name)
	}
	return name
}

// purposeName is what locks are called that have a name other than by where they lie:
// pages and blocks, works and workqueues.
func purposeName(l *lock.Lock) string {
	switch {
	case l.Kind == lock.Pipe && l.Object != nil:
		return l.Object.Path
	case l.Purpose == "":
	case l.Kind == lock.BufferLock, l.Kind == lock.Work:
		return l.Purpose
	case l.Kind == lock.Workqueue:
		return `"` + l.Purpose + `"`
	case (l.Kind == lock.FolioLock || l.Kind == lock.Writeback) && l.Object != nil && l.Object.Path != "":
		return strings.TrimSuffix(l.Purpose, " of the file") + " of " + l.Object.Path
	}
	return ""
}

// objectName is such as "mmap_lock of process 256 mmaphog", or "i_rwsem of
// /mnt/data/file".
func objectName(o *lock.Object) string {
	if strings.HasPrefix(o.Member, "+") { // where in an object of a slab cache
		return fmt.Sprintf("at %s%s, in %s", o.Addr, o.Member, o.Cache)
	}
	kind := strings.TrimPrefix(o.Type, "struct ")
	of := ""
	switch {
	case o.Type == lock.OnStack:
		of = strings.TrimSpace(fmt.Sprintf("on the stack of %d %s", o.PID, o.Comm))
	case o.PID != 0:
		of = strings.TrimSpace(fmt.Sprintf("of process %d %s", o.PID, o.Comm))
	case o.Path != "":
		of = "of " + o.Path
	case o.Super != "":
		of = "of " + o.Super
	case kind != "":
		of = fmt.Sprintf("of %s %s", kind, o.Addr)
	case o.Cache != "":
		of = fmt.Sprintf("in an object of %s at %s", o.Cache, o.Addr)
	}
	return strings.TrimSpace(o.Member + " " + of)
}

// TaskName is a task as people name it: PID and comm, or what is known of one that
// is gone.
func TaskName(t *lock.Task) string {
	if t.Unread {
		return "a task that cannot be read (task_struct " + t.Addr.String() + ")"
	}
	if t.Gone != "" {
		return "a task that is gone (task_struct " + t.Addr.String() + ")"
	}
	return fmt.Sprintf("%d \"%s\"", t.PID, t.Comm) // Comm is escaped already
}

func (b *builder) task(i int) TaskRef {
	t := &b.r.Graph.Tasks[i]
	return TaskRef{Index: i, Addr: t.Addr, PID: t.PID, Comm: t.Comm}
}

func (b *builder) lock(i int) LockRef {
	l := &b.r.Graph.Locks[i]
	return LockRef{Index: i, Kind: l.Kind, Addr: l.Addr, Name: Name(l)}
}

// LockName is a lock of the graph with its kind.
func (r *Report) LockName(i int) string {
	return string(r.Graph.Locks[i].Kind) + " " + Name(&r.Graph.Locks[i])
}

// String is the lock with its kind, and its address where the name does not tell.
func (l LockRef) String() string {
	if strings.Contains(l.Name, l.Addr.String()) {
		return string(l.Kind) + " " + l.Name
	}
	return fmt.Sprintf("%s %s (%s)", l.Kind, l.Name, l.Addr)
}

// short is the lock without its address.
func (l LockRef) short() string { return string(l.Kind) + " " + l.Name }

// text tells a cycle in words.
func (b *builder) cycleText(steps []Step) string {
	var parts []string
	for i := range steps {
		s := &steps[i]
		verb := "holds"
		if s.HoldSure != lock.Certain {
			verb = map[lock.Confidence]string{lock.Likely: "likely holds", lock.Suspected: "is suspected to hold", lock.Hint: "may hold"}[s.HoldSure]
		}
		parts = append(parts, fmt.Sprintf("%s %s %s, waits for %s", TaskName(&b.r.Graph.Tasks[s.Task.Index]), verb, s.Holds.short(), s.Waits.short()))
	}
	return strings.Join(parts, "; ")
}

// chainText tells a chain in words.
func (b *builder) chainText(c *Chain) string {
	var s strings.Builder
	for i := range c.Links {
		l := &c.Links[i]
		if i > 0 {
			s.WriteString(", held by ")
		}
		s.WriteString(TaskName(&b.r.Graph.Tasks[l.Task.Index]))
		if l.Waits != nil {
			s.WriteString(", which waits for " + l.Waits.short())
		}
	}
	text := strings.Replace(s.String(), ", which waits for", " waits for", 1)
	last := &c.Links[len(c.Links)-1]
	switch {
	case c.Deadlock:
		text += ": a deadlock"
	case last.Waits != nil:
		text += ", of which no holder is known"
	case len(c.Links) == 1:
		text += " waits for no lock"
	}
	return text
}

// evidenceText says in words what an edge rests on, empty where nothing is told.
func evidenceText(e *lock.Evidence) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if e.CallName != "" || e.Call != 0 {
		at := e.CallName
		if at == "" {
			at = e.Call.String()
		}
		if e.Called == "" {
			add("taken at %s", at)
		} else {
			add("taken at %s by %s", at, e.Called)
		}
	}
	if e.Text != "" {
		add("%s", e.Text)
		return strings.Join(parts, "; ")
	}
	if e.Function != "" && e.Call == 0 {
		add("frame #%d is in %s at %s", e.Frame, e.Function, e.PC)
	}
	if e.Register != "" {
		add("its address is in %s", e.Register)
	}
	if e.Slot != 0 {
		add("its address is on the stack at %s", e.Slot)
	}
	if e.Value != 0 {
		add("the word is %s", e.Value)
	}
	return strings.Join(parts, ", ")
}

// HoldText says how it is known that a task holds a lock: by what, how sure, and, where
// that is not certain, what speaks for it.
func HoldText(h *lock.Hold) string {
	text := "by " + string(h.Method)
	if h.Sure == lock.Certain {
		return text
	}
	text += ", " + string(h.Sure)
	var seen []string
	for i := range h.Evidence {
		if e := evidenceText(&h.Evidence[i]); e != "" && !slices.Contains(seen, e) {
			seen = append(seen, e)
		}
	}
	if len(seen) > maxReasons {
		seen = append(seen[:maxReasons], "…")
	}
	if len(seen) > 0 {
		text += ": " + strings.Join(seen, "; also: ")
	}
	return text
}

// maxReasons bounds what is told of one holder; Hold.Evidence has all.
const maxReasons = 3

func hex(n uint64) string { return fmt.Sprintf("%#x", n) }
