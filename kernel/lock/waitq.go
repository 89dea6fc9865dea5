package lock

import (
	"fmt"
	"strings"
)

// entryAt takes the word at a slot, which leads to the task, for the one in a
// wait_queue_entry.
func (b *builder) entryAt(s *stack, slot uint64) (found, bool) {
	e := &b.forms.entry
	if !e.ok {
		return found{}, false
	}
	start := slot - e.private
	if !s.holds(start, e.entry+16) || start+e.fn+8 < start {
		return found{}, false
	}
	fn := s.word(start + e.fn)
	if !b.tracer.IsText(fn) {
		return found{}, false
	}
	if _, off, ok := b.k.SymbolAt(fn); ok && off != 0 {
		return found{}, false // no function begins there: what looks like an entry is something else
	}
	node := start + e.entry
	if b.isTimer(s, node) {
		return found{}, false
	}
	r, pos := b.ringOf(node, shape{entry: true, delta: int64(e.fn) - int64(e.entry)})
	if r == nil || r.head == 0 {
		return found{}, false
	}
	f := found{kind: WaitQueue, addr: r.head - e.head, method: ByWaitList, sure: Certain, slot: start, frame: s.frameOf(start),
		value: node, ring: r, pos: pos}
	b.purpose(s, &f, fn)
	return f, true
}

// swaitAt takes the word at a slot, which leads to the task, for the one in a
// swait_queue.
func (b *builder) swaitAt(s *stack, slot uint64) (found, bool) {
	e := &b.forms.entry
	if !e.hasSwait {
		return found{}, false
	}
	start := slot - e.swaitTask
	node := start + e.swaitList
	if !s.holds(node, 16) || s.word(node) == node || b.isTimer(s, node) {
		return found{}, false
	}
	r, pos := b.ringOf(node, shape{delta: int64(e.swaitTask) - int64(e.swaitList)})
	if r == nil || r.head == 0 {
		return found{}, false
	}
	f := found{kind: WaitQueue, addr: r.head - e.swaitHead, method: ByWaitList, sure: Certain, slot: start, frame: s.frameOf(start),
		value: node, ring: r, pos: pos}
	if e.hasCompletion && e.completionSwait && s.waitsFor(Completion) {
		if r.broken != nil && !b.settle(s, r, max(s.innermost(roleWait), 0), "struct completion", e.completionList) {
			f.sure, f.text = Suspected, doubtfulHead
		}
		f.kind, f.addr = Completion, r.head-e.completionList
	}
	b.meaning(s, &f)
	return f, true
}

// waitsFor tells whether a function that waits for a kind is among the frames
// nearest to the scheduler.
func (s *stack) waitsFor(kind Kind) bool {
	for i := range s.frames {
		fn := s.frames[i].fn
		if fn.classed && fn.class.role == roleWait && fn.class.kind == kind {
			return true
		}
		if !fn.classed && fn.name != "" {
			return false
		}
	}
	return false
}

// purpose finds out what a wait queue is for: by the function that wakes the entry
// up, and by those that wait.
func (b *builder) purpose(s *stack, f *found, fn uint64) {
	e := &b.forms.entry
	wake := ""
	if sym, off, ok := b.k.SymbolAt(fn); ok && off == 0 {
		wake = sym.Name
	}
	switch {
	case wake == "wake_page_function" && e.hasPage:
		b.pageWait(s, f)
	case (wake == "wake_bit_function" || wake == "var_wake_function") && e.hasBit:
		b.bitWait(s, f, wake)
	case wake == "percpu_rwsem_wake_function" && b.forms.percpu.ok && !b.forms.percpu.old:
		// Readers, and writers that come after another.
		f.kind, f.addr, f.mode = PercpuRWSem, f.ring.head-b.forms.percpu.waiters, Write
		if s.has("__percpu_down_read") || s.has("percpu_down_read") {
			f.mode = Read
		}
	case e.hasCompletion && !e.completionSwait && s.waitsFor(Completion):
		f.kind, f.addr = Completion, f.ring.head-e.completionList
		b.meaning(s, f)
	default:
		b.meaning(s, f)
	}
}

func (s *stack) has(name string) bool {
	for i := range s.frames {
		if s.frames[i].fn.name == name {
			return true
		}
	}
	return false
}

// hasKind tells whether a function that waits for a kind is on the stack.
func (s *stack) hasKind(kind Kind) bool {
	for i := range s.frames {
		if fn := s.frames[i].fn; fn.classed && fn.class.kind == kind && fn.class.role == roleWait {
			return true
		}
	}
	return false
}

// pageWait reads the wait_page_queue around an entry.
func (b *builder) pageWait(s *stack, f *found) {
	e := &b.forms.entry
	start := f.slot - e.pageEntry
	if !s.holds(start, e.pageEntry) {
		return
	}
	f.slot, f.addr = start, s.word(start+e.page)
	f.bit = int(int32(s.word(start + e.pageBit)))
	f.kind = b.pageBit(s, f.bit)
	if f.kind != BitLock {
		f.bit = 0
	}
}

// pageBit is the kind of lock that a bit of a page's flags is (enum pageflags).
func (b *builder) pageBit(s *stack, bit int) Kind {
	if t, err := b.k.Info().Type("enum pageflags"); err == nil {
		for _, v := range t.Enumerators() {
			switch {
			case v.Value == int64(bit) && v.Name == "PG_locked":
				return FolioLock
			case v.Value == int64(bit) && v.Name == "PG_writeback":
				return Writeback
			}
		}
	} else if bit == 0 { // PG_locked has always been the first
		return FolioLock
	}
	return BitLock
}

// bitWait reads the wait_bit_queue_entry around an entry.
func (b *builder) bitWait(s *stack, f *found, wake string) {
	e := &b.forms.entry
	start := f.slot - e.bitEntry
	if !s.holds(start, e.bitEntry) {
		return
	}
	f.slot, f.addr = start, s.word(start+e.bitWord)
	f.bit, f.kind = int(int32(s.word(start+e.bitNo))), BitLock
	if wake == "wake_bit_function" && (f.bit < -1 || f.bit >= 64) {
		f.sure, f.text = Suspected, fmt.Sprintf("its wait_bit_key has the bit %d, which no word has", f.bit)
		b.fail(fmt.Errorf("%d %s waits for a bit of %#x: %s", s.tk.PID, s.tk.Comm, f.addr, f.text))
		f.bit = 0
		if s.hasKind(BufferLock) || b.isBuffer(f.addr) {
			f.bit = bhLock
		}
	}
	switch {
	case wake == "var_wake_function" || f.bit == -1:
		f.kind, f.bit = VarWait, 0
	case f.bit == bhLock && (s.hasKind(BufferLock) || b.isBuffer(f.addr)):
		f.kind, f.bit = BufferLock, 0
	case s.hasKind(FolioLock) || s.hasKind(Writeback):
		if f.kind = b.pageBit(s, f.bit); f.kind != BitLock { // until 4.12
			f.bit = 0
		}
	}
}

// meaning looks for the function that says what a wait on a queue or completion
// is really for.
func (b *builder) meaning(s *stack, f *found) {
	i := -1
	for j := range s.frames {
		fn := s.frames[j].fn
		if fn.classed && fn.class.role == roleMeans {
			i = j
			break
		}
		if j > f.frame+6 && f.frame >= 0 {
			break
		}
	}
	if i < 0 {
		return
	}
	c := s.frames[i].fn.class
	switch c.kind {
	case RCU:
		b.rcuWait(s, f, i)
	case SRCU:
		b.srcuWait(s, f, i)
	case Work:
		b.workWait(s, f, i)
	case Workqueue:
		b.workqueueWait(s, f, i)
	case Pipe:
		b.pipeWait(s, f)
	case Flock:
		b.fileLockWait(s, f)
	}
}

// byFrames finds what is waited for without being on a list: by the functions on
// the stack and what they were called with.
func (b *builder) byFrames(s *stack) []found {
	for i := range s.frames {
		fn := s.frames[i].fn
		if !fn.classed {
			break
		}
		c := fn.class
		switch {
		case c.role == roleMeans && c.kind == Futex:
			if f, ok := b.futexWait(s, i); ok {
				return []found{f}
			}
			return nil
		case fn.name == "percpu_down_write":
			if f, ok := b.percpuWriter(s, i); ok {
				return []found{f}
			}
		case c.role == roleWait && c.argument:
			if f, ok := b.byArgument(s, i); ok {
				return []found{f}
			}
		}
	}
	return nil
}

// byArgument takes the first argument of a locking function for the lock. Nothing
// on the stack is on a list, so that it stays a suspicion.
func (b *builder) byArgument(s *stack, i int) (found, bool) {
	c := s.frames[i].fn.class
	l, ok := b.formOf(c.kind)
	if !ok {
		return found{}, false
	}
	addr, ok := b.lockArgument(s.tk, i, l.name)
	if !ok {
		return found{}, false
	}
	if _, readable := b.uint64At(addr + l.list); !readable {
		return found{}, false
	}
	return found{kind: c.kind, addr: addr, mode: c.mode, method: ByArgument, sure: Suspected, frame: i, pos: -1,
		text: "the task is on no list of the lock"}, true
}

// candidates are the words that may be the first argument of the function of a
// frame: what its caller's code says, and what lies in the frames up to its
// caller's.
func (b *builder) candidates(s *stack, i int) []uint64 {
	var list []uint64
	if other, err := b.again(s.tk); err == nil && i < len(other.frames) {
		if v, _, ok := b.tracer.EntryRegister(other.trace, i, b.arg); ok {
			list = append(list, v)
		}
		for j := i; j < len(other.trace.Frames) && j < i+2; j++ {
			for _, r := range b.regs.Order {
				if v, ok := other.register(j, r); ok && inKernel(v) {
					list = append(list, v)
				}
			}
		}
	}
	end := s.lo + uint64(len(s.words))
	if i+1 < len(s.frames) && s.frames[i+1].cfa != 0 {
		end = min(end, s.frames[i+1].cfa)
	}
	for at := s.lo; at+8 <= end; at += 8 {
		if v := s.word(at); inKernel(v) && !b.tracer.IsText(v) {
			list = append(list, v)
		}
	}
	return list
}

// lookup is the name of the symbol at an address without an offset.
func (b *builder) symbol(addr uint64) string {
	name, ok := b.k.LookupName(addr)
	if !ok {
		return ""
	}
	name, _, _ = strings.Cut(name, "/")
	return name
}
