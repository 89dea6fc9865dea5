package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
)

// heldForm is struct held_lock of task_struct.held_locks and what it leads to
// (include/linux/lockdep_types.h; CONFIG_LOCKDEP).
type heldForm struct {
	ok       bool
	stride   uint64
	instance uint64
	ip       uint64
	read     ctype.Field
	hasRead  bool
	maps     map[Kind]uint64 // where a lock of the kind has its lockdep_map
}

// heldLock is one entry of held_locks.
type heldLock struct {
	instance uint64 // virtual address of the lock's struct lockdep_map
	ip       uint64 // where it was asked for
	read     bool
}

func (b *builder) readHeldForm() *heldForm {
	if b.heldForms != nil {
		return b.heldForms
	}
	f := &heldForm{maps: map[Kind]uint64{}}
	b.heldForms = f
	t := typeOf(b.k, "struct held_lock")
	l := &b.forms.task
	if t == nil || !l.Depth.Has() || !l.Held.Has() {
		return f
	}
	var ok1, ok2 bool
	f.stride = uint64(t.Size())
	f.instance, ok1 = at(t, "instance")
	f.ip, ok2 = at(t, "acquire_ip")
	if r, err := t.Field("read"); err == nil {
		f.read, f.hasRead = r, true
	}
	for kind, names := range map[Kind][]string{Mutex: {"struct mutex"}, RWSem: {"struct rw_semaphore"}, RTMutex: {"struct rt_mutex"},
		Spinlock: {"struct raw_spinlock"}, RWLock: {"rwlock_t", "struct rwlock"}, PercpuRWSem: {"struct percpu_rw_semaphore"}, SRCU: {"struct srcu_struct"}} {
		if off, ok := at(typeOf(b.k, names...), "dep_map"); ok {
			f.maps[kind] = off
		}
	}
	f.maps[WWMutex], f.maps[Lockref], f.maps[FrozenFS] = f.maps[Mutex], f.maps[Spinlock], f.maps[PercpuRWSem]
	f.ok = ok1 && ok2 && len(f.maps) > 0
	return f
}

// heldLocks are the locks that lockdep says a task has taken or asks for, in order.
func (b *builder) heldLocks(fields []byte) []heldLock {
	f := b.readHeldForm()
	if !f.ok {
		return nil
	}
	l := &b.forms.task
	raw := l.Held.Get(fields)
	var list []heldLock
	for i := range uint64(l.Depth.Get(fields)) {
		if (i+1)*f.stride > uint64(len(raw)) {
			break // MAX_LOCK_DEPTH
		}
		one := raw[i*f.stride : (i+1)*f.stride]
		h := heldLock{instance: le64(one[f.instance:]), ip: le64(one[f.ip:])}
		if f.hasRead && f.read.Offset+4 <= int64(len(one)) {
			v := uint32(one[f.read.Offset]) | uint32(one[f.read.Offset+1])<<8 | uint32(one[f.read.Offset+2])<<16 | uint32(one[f.read.Offset+3])<<24
			h.read = v>>f.read.BitOffset&(1<<f.read.BitSize-1) != 0
		}
		list = append(list, h)
	}
	return list
}

// lockdep takes the last of the locks that lockdep says a sleeping task has: it asks
// for that. The kind is that of the function that it sleeps in.
func (b *builder) lockdep(s *stack, fields []byte) []found {
	list := b.heldLocks(fields)
	if len(list) == 0 {
		return nil
	}
	c, i := class{}, -1
	for j := range s.frames {
		fn := s.frames[j].fn
		if !fn.classed {
			break
		}
		if fn.class.role == roleWait {
			c, i = fn.class, j
		}
	}
	off, ok := b.readHeldForm().maps[c.kind]
	if i < 0 || !ok {
		return nil
	}
	last := list[len(list)-1]
	f := found{kind: c.kind, addr: last.instance - off, mode: c.mode, method: ByLockdep, sure: Likely, value: last.instance, frame: i, pos: -1}
	if c.kind == RWSem {
		if f.mode = Write; last.read {
			f.mode = Read
		}
	}
	return []found{f}
}

// lockdepHolds adds those that lockdep says hold the locks that are waited for.
func (b *builder) lockdepHolds() {
	f := b.readHeldForm()
	if !f.ok {
		return
	}
	byMap := map[uint64]int{}
	for i := range b.snap.Locks {
		l := &b.snap.Locks[i]
		if off, ok := f.maps[l.Kind]; ok && l.Addr != 0 {
			byMap[uint64(l.Addr)+off] = i
		}
	}
	for _, tk := range b.order {
		fields, err := b.k.Peek(tk.Addr, b.visited)
		if err != nil {
			continue
		}
		for _, h := range b.heldLocks(fields) {
			i, ok := byMap[h.instance]
			if !ok || b.waitsFor(tk, i) {
				continue
			}
			mode := Mode("")
			if k := b.snap.Locks[i].Kind; k == RWSem || k == RWLock || k == PercpuRWSem {
				if mode = Write; h.read {
					mode = Read
				}
			}
			e := Evidence{Call: kernel.Addr(h.ip), CallName: b.k.SymbolName(h.ip), Value: kernel.Addr(h.instance),
				Text: fmt.Sprintf("lockdep has it among the locks of %d %s", tk.PID, tk.Comm)}
			b.certify(Hold{Lock: i, Task: b.task(tk), Mode: mode, Method: ByLockdep, Sure: Certain, Evidence: []Evidence{e}})
		}
	}
}

// certify adds a hold that is sure, or makes sure of one that was not.
func (b *builder) certify(h Hold) {
	if i, ok := b.holdAt[[2]int{h.Lock, h.Task}]; ok && b.snap.Holds[i].Sure != Certain {
		old := &b.snap.Holds[i]
		old.Sure, old.Method, old.Mode = h.Sure, h.Method, h.Mode
		old.Evidence = append(h.Evidence, old.Evidence...)
	} else {
		b.hold(h)
	}
	b.snap.Locks[h.Lock].NoHolder = ""
}
