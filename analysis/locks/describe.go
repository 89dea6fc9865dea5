package locks

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel/lock"
)

// Name is what a lock is called: the variable, the member and the object that it is
// part of, or else its address.
func Name(l *lock.Lock) string {
	name := l.Symbol
	if o := l.Object; name == "" && o != nil {
		name = objectName(l, o)
	}
	if name == "" {
		name = l.Addr.String()
	}
	if l.Kind == lock.BitLock {
		name = fmt.Sprintf("bit %d of %s", l.Bit, name)
	}
	return name
}

// objectName is such as "mmap_lock of process 256 mmaphog", or "i_rwsem of
// /mnt/data/file".
func objectName(l *lock.Lock, o *lock.Object) string {
	member := o.Member
	if member == "" {
		member = string(l.Kind)
	}
	kind := strings.TrimPrefix(o.Type, "struct ")
	if member[0] == '+' { // where in an object of a slab cache
		return fmt.Sprintf("at %s%s, in %s", o.Addr, member, o.Cache)
	}
	switch {
	case o.PID != 0:
		return strings.TrimSpace(fmt.Sprintf("%s of process %d %s", member, o.PID, o.Comm))
	case o.Path != "" && member == string(l.Kind):
		return "of " + o.Path
	case o.Path != "":
		return member + " of " + o.Path
	case o.Super != "":
		return member + " of " + o.Super
	case kind != "":
		return fmt.Sprintf("%s of %s %s", member, kind, o.Addr)
	case o.Cache != "":
		return fmt.Sprintf("%s in an object of %s at %s", member, o.Cache, o.Addr)
	}
	return ""
}

// TaskName is a task as people name it: PID and comm, or what is known of one that
// is gone.
func TaskName(t *lock.Task) string {
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
	}
	return text
}

func hex(n uint64) string { return fmt.Sprintf("%#x", n) }

// EvidenceText says in words what an edge rests on, empty where nothing is told.
func EvidenceText(e *lock.Evidence) string {
	if e.Text != "" {
		return e.Text
	}
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if e.CallName != "" || e.Call != 0 {
		at := e.CallName
		if at == "" {
			at = e.Call.String()
		}
		add("%s calls %s", at, e.Called)
	}
	if e.Function != "" {
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
