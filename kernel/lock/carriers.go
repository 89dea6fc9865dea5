package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/task"
)

// Holders by their stacks (ByStack): a task that has the address of a lock about it, and
// does not wait for it, is suspected of holding it where no code tells who does. What
// weighs how much:
//
//   - Nothing below the stack pointer counts: it is from calls that have returned.
//   - A task whose functions took the lock and gave it back, as far as their code tells,
//     does not count.
//   - In a register of a processor, in a register that a function has saved for one
//     further out, or in a place that the function has stored to: suspected.
//   - In a place of a frame that its function has not stored to, or whose code is not
//     there to tell: a hint only, for it may have been left there by an earlier call.
//   - A lock at the start of an object has the object's address, which others than its
//     holder have too: hints only, if there is more than one.
//   - Hints count only where there are no suspects.

// carrier is a task that has a lock's address about it.
type carrier struct {
	task *task.Task
	ev   Evidence
	live bool
}

// maxCarriers bounds how many of them are kept for a lock.
const maxCarriers = 8

// mentions tells whether the words of a stack have the address of a wanted lock.
func mentions(s *stack, wanted map[uint64][]int) bool {
	for off := 0; off+8 <= len(s.words); off += 8 {
		if v := le64(s.words[off:]); inKernel(v) && wanted[v] != nil {
			return true
		}
	}
	return false
}

// byStack looks for the addresses of wanted locks in the words of a task's stack.
func (b *builder) byStack(s *stack, wanted map[uint64][]int) {
	for off := 0; off+8 <= len(s.words); off += 8 {
		v := le64(s.words[off:])
		if !inKernel(v) || wanted[v] == nil || b.freed(s, v) {
			continue
		}
		slot := s.lo + uint64(off)
		e, live := b.slot(s, slot)
		e.Slot, e.Value = kernel.Addr(slot), kernel.Addr(v)
		for _, l := range wanted[v] {
			b.carry(s.tk, l, e, live)
		}
	}
}

// slot is the evidence of a place on a stack, and whether what is there is in use.
func (b *builder) slot(s *stack, slot uint64) (e Evidence, live bool) {
	i := s.frameOf(slot)
	if i < 0 {
		e.Text = "its stack has the lock's address, outside of all frames, and it does not wait for it"
		return e, false
	}
	f := &s.frames[i]
	if r, ok := b.savedAt(f, slot); ok && i+1 < len(s.frames) {
		e = b.place(s, i+1)
		e.Register = b.regs.Name(r)
		e.Text = fmt.Sprintf("%s keeps the lock's address in a register, which %s has saved, and the task does not wait for the lock", s.name(i+1), f.fn.name)
		return e, true
	}
	e = b.place(s, i)
	if o := b.outstanding(f); o != nil && o.Stored(slot, b.values(s, i)) {
		e.Text = fmt.Sprintf("%s has the lock's address in its frame, and the task does not wait for the lock", f.fn.name)
		return e, true
	}
	e.Text = "its stack has the lock's address, and it does not wait for it; it may have been left there by an earlier call"
	return e, false
}

// savedAt is the register that the function of a frame saved for its caller at a place.
func (b *builder) savedAt(f *frame, slot uint64) (arch.Reg, bool) {
	code := b.code(f.fn)
	if f.cfa == 0 || len(code) == 0 || f.pc < f.fn.start || slot >= f.cfa {
		return 0, false
	}
	layout, ok := b.arch.FrameAt(code, int(f.pc-f.fn.start))
	if !ok {
		return 0, false
	}
	for _, r := range b.regs.Saved {
		if below, saved := layout.Saved(r); saved && f.cfa-uint64(below) == slot {
			return r, true
		}
	}
	return 0, false
}

// freed tells whether a function on a stack took what lies at an address and gave it back
// again, while none further out has it.
func (b *builder) freed(s *stack, addr uint64) bool {
	for i := len(s.frames) - 1; i >= 0; i-- {
		o := b.outstanding(&s.frames[i])
		if o != nil && o.Freed(addr, b.values(s, i)) {
			return true
		}
	}
	return false
}

// byRegisters looks for the addresses of wanted locks in a processor's registers,
// and on the stack of what it runs.
func (b *builder) byRegisters(s *stack, wanted map[uint64][]int) {
	for _, r := range b.regs.Order {
		v, ok := s.register(0, r)
		if !ok || r == b.regs.PC || r == b.regs.SP || wanted[v] == nil || b.freed(s, v) {
			continue
		}
		for _, l := range wanted[v] {
			e := b.place(s, 0)
			e.Register, e.Value, e.Text = b.regs.Name(r), kernel.Addr(v), "its registers have the lock's address, and it does not wait for it"
			b.carry(s.tk, l, e, true)
		}
	}
	b.byStack(s, wanted)
}

func (b *builder) carry(tk *task.Task, l int, e Evidence, live bool) {
	if b.waitsFor(tk, l) {
		return
	}
	list := b.extra[l].carriers
	for i := range list {
		if list[i].task.Addr == tk.Addr {
			if live && !list[i].live {
				list[i].ev, list[i].live = e, true
			}
			return
		}
	}
	if len(list) < maxCarriers {
		b.extra[l].carriers = append(list, carrier{tk, e, live})
	}
}

// rank adds those that carry a lock's address where nothing better was found.
func (b *builder) rank() {
	some := map[int]bool{}
	for _, h := range b.snap.Holds {
		if h.Sure == Suspected {
			some[h.Lock] = true
		}
	}
	for i := range b.extra {
		if some[i] || b.snap.Locks[i].HeldKnown && !b.snap.Locks[i].Held {
			continue
		}
		some[i] = b.rankCarriers(i)
	}
	for i := range b.snap.Locks {
		if l := &b.snap.Locks[i]; some[i] && l.NoHolder != "" {
			l.NoHolder += "; see the suspects"
		}
	}
}

// rankCarriers adds those that carry a lock's address, and tells whether there are any.
func (b *builder) rankCarriers(i int) bool {
	list := b.extra[i].carriers
	l := &b.snap.Locks[i]
	sure := Hint
	for _, c := range list {
		if c.live {
			sure = Suspected
		}
	}
	vague := len(list) > 1 && (l.Kind == FolioLock || l.Object != nil && l.Object.Addr == l.Addr)
	for _, c := range list {
		if sure == Suspected && !c.live {
			continue
		}
		h := Hold{Lock: i, Task: b.task(c.task), Method: ByStack, Sure: sure, Evidence: []Evidence{c.ev}}
		if vague {
			h.Sure = Hint
			h.Evidence[0].Text += "; the lock has its object's address, which others than its holder have too"
		}
		if h.Sure == Hint {
			b.hold(h)
		} else {
			b.strengthen(h)
		}
	}
	return len(list) > 0
}
