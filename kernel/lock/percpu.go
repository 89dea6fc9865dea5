package lock

import (
	"fmt"
	"strings"

	"github.com/kmortem/mortem/kernel/vfs"
)

// A percpu_rw_semaphore (kernel/locking/percpu-rwsem.c, include/linux/percpu-rwsem.h)
// counts its readers for each processor, and lets a writer shut them out. Before 5.7
// those who were shut out waited for a rw_semaphore inside of it, which the writer had
// taken, and the writer waited for readers elsewhere: in a queue of its own until 4.10,
// on no list since.

// outerSem makes of a wait for what is inside of a percpu_rw_semaphore one for that, if
// the functions that wait are its own.
func (b *builder) outerSem(s *stack, f *found) {
	p := &b.forms.percpu
	if !p.old || f.kind != RWSem && f.kind != WaitQueue {
		return
	}
	mode, frame := Mode(""), -1
	for i := range s.frames {
		fn := s.frames[i].fn
		if !fn.classed {
			break
		}
		if fn.class.role == roleWait && fn.class.kind == PercpuRWSem {
			mode, frame = fn.class.mode, i
			break
		}
	}
	switch {
	case frame < 0:
		return
	case f.kind == RWSem:
		f.addr -= p.rwsem
	case mode == Write && p.hasQueue:
		f.addr -= p.queue
		f.ring, f.pos = nil, 0
	default:
		return
	}
	f.kind, f.mode = PercpuRWSem, mode
	if f.frame < 0 {
		f.frame = frame
	}
}

// percpuWriter finds the percpu_rw_semaphore that a writer waits for readers to
// leave: its member writer leads to the task.
func (b *builder) percpuWriter(s *stack, i int) (found, bool) {
	p := &b.forms.percpu
	if !p.ok || !p.hasWriter {
		return found{}, false
	}
	f := found{kind: PercpuRWSem, mode: Write, method: ByMember, sure: Certain, frame: i, pos: 0}
	for off := 0; off+8 <= len(s.words); off += 8 {
		addr := le64(s.words[off:])
		if !inKernel(addr) || addr&7 != 0 {
			continue
		}
		// The code keeps the address of the semaphore or of its member writer.
		for _, base := range []uint64{addr, addr - p.writer} {
			if v, ok := b.uint64At(base + p.writer); ok && v == s.tk.Addr && b.percpuSem(base) {
				f.addr, f.slot, f.value = base, s.lo+uint64(off), v
				return f, true
			}
		}
	}
	if addr, ok := b.argumentOf(s.tk, i); ok {
		if v, ok := b.uint64At(addr + p.writer); ok && v == s.tk.Addr {
			f.addr, f.method = addr, ByArgument
			return f, true
		}
	}
	return found{}, false
}

// percpuSem tells whether a percpu_rw_semaphore can lie at an address: its queue's
// list leads back to itself.
func (b *builder) percpuSem(addr uint64) bool {
	if p := &b.forms.percpu; p.old {
		form := b.forms.locks[RWSem]
		form.list += p.rwsem
		form.owner += p.rwsem
		return b.plausible(&form, addr)
	}
	head := addr + b.forms.percpu.waiters
	next, ok := b.uint64At(head)
	if !ok {
		return false
	}
	back, ok := b.uint64At(next + 8)
	return ok && back == head
}

// percpu reads a percpu_rw_semaphore; one in super_block.s_writers is a level of
// freezing.
func (b *builder) percpu(i int) {
	l := &b.snap.Locks[i]
	p := &b.forms.percpu
	l.NoHolder = "its holders leave no trace in it"
	if x := &b.extra[i]; x.ring != nil {
		if len(x.ring.nodes) > 0 {
			l.Queue = len(x.ring.nodes)
		}
		if x.ring.broken != nil {
			l.Broken = x.ring.broken.Error()
			b.fail(fmt.Errorf("%s at %#x: %w", l.Kind, uint64(l.Addr), x.ring.broken))
		}
	}
	if p.old {
		b.innerOwner(i)
		return
	}
	if v, ok := b.uint32At(uint64(l.Addr) + p.block); ok {
		l.Held, l.HeldKnown = v != 0, v != 0
		if v != 0 {
			l.State = "a writer has it or wants it"
		}
	}
}

// innerOwner reads the rw_semaphore in a percpu_rw_semaphore: who has that has shut
// readers out, and has the lock unless it still waits for some of them.
func (b *builder) innerOwner(i int) {
	form, ok := b.forms.locks[RWSem]
	if !ok {
		return
	}
	l := &b.snap.Locks[i]
	inner := uint64(l.Addr) + b.forms.percpu.rwsem
	var count, owner uint64
	countOK, ownerOK := false, true
	if form.hasCount {
		count, countOK = b.uint64At(inner + form.count)
	}
	if form.hasOwner {
		owner, ownerOK = b.uint64At(inner + form.owner)
	}
	if !ownerOK || form.hasCount && !countOK {
		l.Broken = "the rw_semaphore in it cannot be read"
		b.fail(fmt.Errorf("%s at %#x: %s", l.Kind, uint64(l.Addr), l.Broken))
		return
	}
	b.snap.Coverage.Read++
	if tk := b.live[owner&^form.ownerFlags]; tk != nil && owner&1 == 0 && b.waitsFor(tk, i) {
		l.State, l.NoHolder = "a writer has shut readers out, and waits for those inside to leave", "readers leave no trace in it"
		return
	}
	b.rwsemOwner(i, &form, owner, count, countOK)
	if l = &b.snap.Locks[i]; !l.Held {
		// Readers are counted for each processor, and a writer may have yet to come.
		l.HeldKnown, l.State = false, ""
		l.NoHolder = "its holders leave no trace in it"
	}
}

// freezing tells whether a lock in a super_block is a level of freezing. Until 4.2 there
// were queues in its place: of those who want to write, and of the one who freezes.
func freezing(l *Lock) bool {
	in := strings.HasPrefix(l.Object.Member, "s_writers.")
	switch l.Kind {
	case PercpuRWSem, RWSem:
		return in
	case WaitQueue:
		return in || strings.Contains(l.Object.Member, "wait_unfrozen")
	}
	return false
}

const frozenState = "frozen"

// frozen says how far a file system is frozen (enum in include/linux/fs.h; before 3.6
// there were two levels).
func (n *namer) frozen(l *Lock, sb *vfs.SuperBlock) {
	l.Kind = FrozenFS
	levels := map[uint64]string{1: "writes stopped", 2: "page faults stopped", 3: "being frozen", 4: frozenState}
	if _, ok := at(n.super, "s_writers"); !ok {
		levels = map[uint64]string{1: "writes stopped", 2: frozenState}
	}
	level := levels[sb.Frozen]
	if level == "" {
		l.State = "not frozen"
		return
	}
	l.State, l.Held, l.HeldKnown = level, true, true
	if level == frozenState {
		l.NoHolder = "the file system is frozen (FIFREEZE, fsfreeze); who froze it is not recorded, and it lasts until it is thawed"
	}
}

// freezeEdges says of those who wait in a queue of a file system that is being frozen
// what they would of a percpu_rw_semaphore, where who freezes is the writer. That one
// stays the owner of a rw_semaphore when the file system is frozen, and need not be the
// one who thaws it.
func (b *builder) freezeEdges() {
	for i := range b.snap.Waits {
		w := &b.snap.Waits[i]
		l := &b.snap.Locks[w.Lock]
		if l.Kind != FrozenFS || w.Mode != "" || l.Object == nil {
			continue
		}
		w.Mode = Write
		if strings.Contains(l.Object.Member, "wait_unfrozen") {
			w.Mode = Read
		}
	}
	for i := range b.snap.Holds {
		h := &b.snap.Holds[i]
		if l := &b.snap.Locks[h.Lock]; l.Kind == FrozenFS && l.State == frozenState && h.Method == ByOwner {
			h.Sure = Hint
			h.Evidence[0].Text = "it froze the file system; any task may thaw it"
		}
	}
}
