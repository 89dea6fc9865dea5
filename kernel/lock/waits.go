package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
	"github.com/kmortem/mortem/kernel/task"
)

// found is a lock that a task seems to wait for.
type found struct {
	kind   Kind
	addr   uint64
	bit    int
	mode   Mode
	method Method
	sure   Confidence
	frame  int
	slot   uint64 // of the waiter on the stack
	value  uint64
	ring   *ring
	pos    int
	text   string
	// What the kind's own code wants to know later.
	work, wq, pipe, fileWaiter uint64
	wqList                     uint64 // the struct cpu_workqueue_struct of a work
	id                         uint64 // tells apart what has the same address
	purpose                    string
	rtBase                     uint64 // the rt_mutex in a lock of PREEMPT_RT
	pipeWrite                  bool
}

// visit looks at a task that no processor runs.
func (b *builder) visit(tk *task.Task) {
	if b.cpuOf[tk.Addr] != nil {
		return
	}
	letter := tk.Letter()
	switch letter {
	case "Z", "X", "N", "P", "I":
		return
	}
	fields, err := b.k.Peek(tk.Addr, b.visited)
	if err != nil {
		b.fail(err)
		return
	}
	list := b.pointers(fields)
	s, err := b.read(tk, false)
	if err != nil {
		b.fail(stackError(tk, err))
		s = &stack{tk: tk}
	} else {
		b.snap.Coverage.Read++
		if s.trace.Err != nil && letter == "D" {
			b.fail(stackError(tk, s.trace.Err))
		}
		for i := range list {
			b.dressed(s, &list[i])
		}
		if len(list) == 0 {
			list = b.realtime(s, letter)
		}
		list = append(list, b.lockdep(s, fields)...)
		list = append(list, b.onStack(s)...)
		if len(list) == 0 {
			list = append(list, b.byFrames(s)...)
		}
		for i := range list {
			b.outerSem(s, &list[i])
		}
	}
	b.decide(s, list, letter)
}

// pointers are the locks that the task_struct itself leads to.
func (b *builder) pointers(fields []byte) []found {
	var list []found
	l := &b.forms.task
	if l.BlockedOn.Has() {
		if at := l.BlockedOn.Get(fields); at != 0 && !l.blockedOnWaiter {
			list = append(list, found{kind: Mutex, addr: at, method: ByBlockedOn, sure: Certain, value: at, frame: -1, pos: -1})
		}
	}
	if l.Blocker.Has() {
		if f, ok := blocker(l.Blocker.Get(fields)); ok {
			list = append(list, f)
		}
	} else if l.BlockerMutex.Has() {
		if at := l.BlockerMutex.Get(fields); at != 0 {
			list = append(list, found{kind: Mutex, addr: at, method: ByBlocker, sure: Certain, value: at, frame: -1, pos: -1})
		}
	}
	if l.PIBlockedOn.Has() && b.forms.rt.ok {
		if f, ok := b.piBlocked(l.PIBlockedOn.Get(fields)); ok {
			list = append(list, f)
		}
	}
	return list
}

// blocker takes task_struct.blocker apart: the address of a lock with its kind in
// the lowest two bits (include/linux/hung_task.h, since 6.16).
func blocker(v uint64) (found, bool) {
	f := found{addr: v &^ 3, method: ByBlocker, sure: Certain, value: v, frame: -1, pos: -1}
	switch v & 3 {
	case 0:
		f.kind = Mutex
	case 1:
		f.kind = Semaphore
	case 2:
		f.kind, f.mode = RWSem, Read
	case 3:
		f.kind, f.mode = RWSem, Write
	}
	return f, f.addr != 0
}

// piBlocked follows pi_blocked_on to the waiter, and from there to the lock, whose
// tree has to lead back.
func (b *builder) piBlocked(waiter uint64) (found, bool) {
	if waiter == 0 {
		return found{}, false
	}
	r := &b.forms.rt
	addr, ok := b.uint64At(waiter + r.lock)
	if !ok || addr == 0 {
		return found{}, false
	}
	f := found{kind: RTMutex, addr: addr, method: ByPI, sure: Likely, slot: waiter, value: waiter, frame: -1, pos: -1}
	if b.rtLeadsTo(addr, waiter) {
		f.sure = Certain
	}
	return f, true
}

// rtLeadsTo tells whether an rt_mutex's tree or list of waiters has one: its
// parents lead up to the root.
func (b *builder) rtLeadsTo(lock, waiter uint64) bool {
	r := &b.forms.rt
	node := waiter + r.tree
	if r.plist {
		for next, err := range list.Circular(b.k, lock+r.waiters, maxWaiters) {
			if err != nil {
				return false
			}
			if next >= waiter && next < waiter+r.size+128 {
				return true
			}
		}
		return false
	}
	root := lock + r.waiters
	for range 64 { // no tree is as deep
		top, ok := b.uint64At(root)
		if !ok {
			return false
		}
		if top == node {
			return true
		}
		parent, ok := b.uint64At(node)
		if !ok || parent&^3 == 0 {
			return false
		}
		parent &^= 3
		left, _ := b.uint64At(parent + 16)
		right, _ := b.uint64At(parent + 8)
		if left != node && right != node {
			return false
		}
		node = parent
	}
	return false
}

// onStack looks on the task's stack for waiters of its own, the innermost first.
func (b *builder) onStack(s *stack) []found {
	var list []found
	self := s.tk.Addr
	for off := 0; off+8 <= len(s.words); off += 8 {
		if le64(s.words[off:]) != self {
			continue
		}
		slot := s.lo + uint64(off)
		if f, ok := b.waiterAt(s, slot); ok {
			list = append(list, f)
		} else if f, ok := b.entryAt(s, slot); ok {
			list = append(list, f)
		} else if f, ok := b.swaitAt(s, slot); ok {
			list = append(list, f)
		}
		if len(list) >= 16 {
			break
		}
	}
	return list
}

// waiterAt takes the word at a slot, which leads to the task, for the one in a
// mutex_waiter, rwsem_waiter or semaphore_waiter.
func (b *builder) waiterAt(s *stack, slot uint64) (found, bool) {
	tried := uint64(0)
	for i := range b.forms.waiters {
		w := &b.forms.waiters[i]
		start := slot - w.task
		node := start + w.list
		if !s.holds(start, w.size) || node == tried {
			continue
		}
		tried = node
		ring, pos := b.ringOf(node, shape{delta: int64(w.task) - int64(w.list)})
		if ring == nil {
			continue
		}
		f := found{method: ByWaitList, sure: Certain, slot: start, frame: s.frameOf(start), ring: ring, pos: pos, value: node}
		if ring.head == 0 {
			if b.headless(s, ring, &f) || b.brokenRing(s, ring, &f) {
				b.readMode(s, &f)
				return f, true
			}
			continue
		}
		if b.unsettled(s, ring, &f) {
			if b.brokenRing(s, ring, &f) {
				b.readMode(s, &f)
				return f, true
			}
			f.sure, f.text = Suspected, doubtfulHead
		}
		if b.chooseKind(s, ring, &f) {
			b.readMode(s, &f)
			return f, true
		}
	}
	return found{}, false
}

// doubtfulHead says of a lock that it may be another one.
const doubtfulHead = "its list of waiters breaks, and what was taken for the list's head may be the waiter of a task that could not be read"

// unsettled tells whether the head of a list that breaks may be something else.
func (b *builder) unsettled(s *stack, r *ring, f *found) bool {
	if r.broken == nil || r.kind != "" {
		return false
	}
	c, i := s.classNear(f.frame)
	if i < 0 {
		return !b.whole
	}
	l, ok := b.formOf(c.kind)
	return ok && !l.headless && !b.settle(s, r, i, l.name, l.list)
}

// formOf is the form of a kind of lock with a list.
func (b *builder) formOf(kind Kind) (lockForm, bool) {
	if kind == WWMutex {
		kind = Mutex
	}
	l, ok := b.forms.locks[kind]
	return l, ok
}

// chooseKind tells which of the kinds of lock it is whose list's head is known: by
// the function that has the waiter in its frame or was called from there, and
// otherwise by what the lock itself looks like.
func (b *builder) chooseKind(s *stack, r *ring, f *found) bool {
	if r.kind != "" {
		f.kind, f.addr = r.kind, r.lock
		return true
	}
	if c, i := s.classNear(f.frame); i >= 0 {
		if l, ok := b.formOf(c.kind); ok && !l.headless {
			f.kind, f.addr, f.mode = c.kind, r.head-l.list, c.mode
			r.kind, r.lock = f.kind, f.addr
			return true
		}
	}
	if s.tk.Letter() != "D" || s.meansNear(f.frame) {
		return false // it is a waiter for something else
	}
	for _, kind := range []Kind{Mutex, RWSem, Semaphore} {
		l, ok := b.forms.locks[kind]
		if ok && !l.headless && b.plausible(&l, r.head-l.list) {
			f.kind, f.addr, f.sure = kind, r.head-l.list, Likely
			f.text = "the kind is judged by the lock's contents"
			r.kind, r.lock = f.kind, f.addr
			return true
		}
	}
	return false
}

// classNear is what the function of a frame says, or those around it: a waiter is
// in the frame of the slow path, whose name the compiler may have lost.
func (s *stack) classNear(i int) (class, int) {
	for _, j := range []int{i, i + 1, i - 1, i + 2} {
		if j < 0 || j >= len(s.frames) {
			continue
		}
		if fn := s.frames[j].fn; fn.classed && fn.class.role == roleWait {
			return fn.class, j
		}
	}
	return class{}, -1
}

// meansNear tells whether a function at a frame, or next to it, waits for
// something of its own.
func (s *stack) meansNear(i int) bool {
	for j := max(0, i-1); j <= i+1 && j < len(s.frames); j++ {
		if fn := s.frames[j].fn; fn.classed && fn.class.role == roleMeans {
			return true
		}
	}
	return false
}

// headless finds the lock of a ring without a head: a word in the frames of those
// who lock that, as the lock, points to one of the ring.
func (b *builder) headless(s *stack, r *ring, f *found) bool {
	if r.lock != 0 {
		f.kind, f.addr = r.kind, r.lock
		return true
	}
	kinds := b.headlessKinds(s, f.frame)
	if len(kinds) == 0 {
		return false
	}
	in := make(map[uint64]int, len(r.nodes))
	for i, n := range r.nodes {
		in[n] = i
	}
	for off := 0; off+8 <= len(s.words); off += 8 {
		addr := le64(s.words[off:])
		if !inKernel(addr) || addr&7 != 0 {
			continue
		}
		for _, kind := range kinds {
			l := b.forms.locks[kind]
			first, ok := b.uint64At(addr + l.list)
			i, leads := in[first]
			if !ok || !leads || !b.plausible(&l, addr) {
				continue
			}
			// The words of the waiters' own list lead to each other, too.
			if _, own := in[addr+l.list]; own {
				continue
			}
			if _, own := in[addr+l.list-8]; own {
				continue
			}
			r.turn(i)
			for j, n := range r.nodes {
				sh := nodeKeyShape(b, kind)
				b.nodes[nodeKey{n, sh}] = nodeAt{r, j}
			}
			f.kind, f.addr = kind, addr
			r.kind, r.lock = kind, addr
			f.pos = posOf(r, f.value)
			return true
		}
	}
	return false
}

// nodeKeyShape is the shape of the waiters of a kind.
func nodeKeyShape(b *builder, kind Kind) shape {
	for i := range b.forms.waiters {
		w := &b.forms.waiters[i]
		for _, k := range w.kinds {
			if k == kind {
				return shape{delta: int64(w.task) - int64(w.list)}
			}
		}
	}
	return shape{}
}

func posOf(r *ring, node uint64) int {
	for i, n := range r.nodes {
		if n == node {
			return i
		}
	}
	return -1
}

// turn makes the n-th node the first.
func (r *ring) turn(n int) {
	if n > 0 && n < len(r.nodes) {
		r.nodes = append(append(make([]uint64, 0, len(r.nodes)), r.nodes[n:]...), r.nodes[:n]...)
	}
}

// headlessKinds are the kinds that a ring without a head can be of.
func (b *builder) headlessKinds(s *stack, frame int) []Kind {
	if c, i := s.classNear(frame); i >= 0 {
		kind := c.kind
		if kind == WWMutex {
			kind = Mutex
		}
		if b.forms.locks[kind].headless {
			return []Kind{kind}
		}
	}
	var kinds []Kind
	for _, kind := range []Kind{Mutex, RWSem, Semaphore} {
		if b.forms.locks[kind].headless {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// brokenRing makes what it can of a list that breaks on both sides: the lock is
// what the locking function was called with, and nothing confirms it.
func (b *builder) brokenRing(s *stack, r *ring, f *found) bool {
	if r.broken == nil {
		return false
	}
	c, i := s.classNear(f.frame)
	if i < 0 {
		return false
	}
	l, ok := b.formOf(c.kind)
	if !ok {
		return false
	}
	addr, ok := b.lockArgument(s.tk, i, l.name)
	if !ok || !b.plausible(&l, addr) {
		return false
	}
	f.kind, f.addr, f.mode, f.method, f.sure = c.kind, addr, c.mode, ByArgument, Suspected
	f.text = "its list of waiters cannot be followed: " + r.broken.Error()
	return true
}

// argumentOf is the first argument of the locking function at a frame or of one
// that called it, as its caller's code tells.
func (b *builder) argumentOf(tk *task.Task, from int) (uint64, bool) {
	s, err := b.again(tk)
	if err != nil {
		return 0, false
	}
	for i := from; i < len(s.frames) && i < from+3; i++ {
		if !s.frames[i].fn.classed {
			break
		}
		if v, ok := b.callArgument(s, i); ok && inKernel(v) {
			return v, true
		}
	}
	return 0, false
}

// lockArgument is argumentOf, or the parameter of a locking function that leads to a
// lock's type.
func (b *builder) lockArgument(tk *task.Task, from int, typ string) (uint64, bool) {
	if s, err := b.again(tk); err == nil {
		if v, ok := b.parameterOf(s, from, typ); ok {
			return v, true
		}
	}
	return b.argumentOf(tk, from)
}

// again walks a task's stack once more, with the registers that functions saved.
func (b *builder) again(tk *task.Task) (*stack, error) {
	other := *b
	other.frames, other.compact, other.words = nil, nil, nil
	return other.read(tk, true)
}

// readMode reads from a rwsem_waiter what it wants.
func (b *builder) readMode(s *stack, f *found) {
	if f.kind != RWSem {
		if f.kind == Mutex || f.kind == WWMutex || f.kind == Semaphore {
			f.mode = ""
		}
		return
	}
	for i := range b.forms.waiters {
		w := &b.forms.waiters[i]
		if w.kinds[0] != RWSem || !w.hasMode || !s.holds(f.slot, w.size) {
			continue
		}
		off := f.slot - s.lo + uint64(w.mode.Offset)
		v := uint64(s.words[off]) | uint64(s.words[off+1])<<8 | uint64(s.words[off+2])<<16 | uint64(s.words[off+3])<<24
		f.mode = Write
		if v == w.readValue {
			f.mode = Read
		}
	}
}

// plausible tells whether what lies at an address can be a lock with waiters: its
// list leads to nodes that lead back, and its owner, if it has one, is a task.
func (b *builder) plausible(l *lockForm, addr uint64) bool {
	if !inKernel(addr) || addr&3 != 0 {
		return false
	}
	first, ok := b.uint64At(addr + l.list)
	if !ok || !inKernel(first) {
		return false
	}
	if !l.hasOwner {
		return true
	}
	owner, ok := b.uint64At(addr + l.owner)
	if !ok {
		return false
	}
	owner &^= l.ownerFlags
	return owner == 0 || l.ownerInfo && inKernel(owner) || b.liveTask(owner) != nil
}

// decide makes a wait of what was found for a task, the first thing first.
func (b *builder) decide(s *stack, list []found, letter string) {
	best := -1
	for i := range list {
		if list[i].sure != Suspected {
			best = i
			break
		}
	}
	if best < 0 && len(list) > 0 {
		best = 0
	}
	if best < 0 {
		b.unexplained(s, letter)
		return
	}
	f := list[best]
	if letter != "D" && !b.opt.Interruptible && (f.kind == WaitQueue || f.kind == Futex) {
		return
	}
	if letter == "R" && (f.kind == WaitQueue || f.kind == Futex || f.kind == Completion) {
		return // it was woken
	}
	w := Wait{Mode: f.mode, Methods: []Method{f.method}, Sure: f.sure, Position: f.pos}
	for i := range list {
		o := &list[i]
		if i == best || o.addr != f.addr || o.bit != f.bit {
			continue
		}
		if o.method != f.method {
			w.Methods = append(w.Methods, o.method)
		}
		b.merge(&f, o, &w)
	}
	b.addWait(s, f, w)
}

// merge adds what another way to the same lock tells.
func (b *builder) merge(f, o *found, w *Wait) {
	if o.sure == Certain {
		w.Sure = Certain
	}
	if w.Mode == "" {
		w.Mode = o.mode
	}
	if f.frame < 0 {
		f.frame = o.frame
	}
	if f.slot == 0 {
		f.slot = o.slot
	}
	if f.ring == nil && o.ring != nil {
		f.ring, w.Position = o.ring, o.pos
	}
	if f.kind == Mutex && o.kind == WWMutex {
		f.kind = WWMutex
	}
}

// addWait puts a wait into the snapshot.
func (b *builder) addWait(s *stack, f found, w Wait) {
	w.Task = b.task(s.tk)
	if b.waited[w.Task] {
		return // two processors seem to run it: one run queue is wrong
	}
	b.waited[w.Task] = true
	w.Lock = b.lockOf(lockKey{f.kind, f.addr, f.bit, f.id})
	if f.purpose != "" {
		b.snap.Locks[w.Lock].Purpose = f.purpose
	}
	t := &b.snap.Tasks[w.Task]
	if at := s.doing(); at >= 0 {
		t.Doing = s.frames[at].fn.name
	}
	w.For, w.Known = t.Blocked, t.BlockedOK
	w.Evidence = b.place(s, f.frame)
	w.Evidence.Slot, w.Evidence.Value, w.Evidence.Text = kernel.Addr(f.slot), kernel.Addr(f.value), f.text
	x := &b.extra[w.Lock]
	if f.ring != nil {
		if f.ring.broken != nil {
			w.Position = -1
		}
		x.ring = f.ring
	}
	x.work, x.wq, x.pipe, x.fileWaiter = max(x.work, f.work), max(x.wq, f.wq), max(x.pipe, f.pipe), max(x.fileWaiter, f.fileWaiter)
	x.pipeWrite, x.rtBase = x.pipeWrite || f.pipeWrite, max(x.rtBase, f.rtBase)
	if f.wqList != 0 {
		if x.wqLists == nil {
			x.wqLists = map[uint64]bool{}
		}
		x.wqLists[f.wqList] = true
	}
	if x.waiting == nil {
		x.waiting = map[int]bool{}
	}
	x.waiting[w.Task] = true
	if w.Position == 0 && !w.Spinning {
		x.first = s.tk.Addr
	}
	if x.waiter == 0 && !w.Spinning {
		x.waiter = s.tk.Addr
	}
	if l := &b.snap.Locks[w.Lock]; l.Purpose == "" && t.Doing != "" && (l.Kind == WaitQueue || l.Kind == Completion || l.Kind == VarWait) {
		l.Purpose = "awaited in " + t.Doing
	}
	b.snap.Waits = append(b.snap.Waits, w)
}

// unexplained notes a task in an uninterruptible sleep whose reason was not found.
func (b *builder) unexplained(s *stack, letter string) {
	if letter != "D" {
		return
	}
	u := Unexplained{Task: b.task(s.tk), Why: "it is on no list of waiters that was found"}
	at := s.doing()
	if at >= 0 {
		b.snap.Tasks[u.Task].Doing = s.frames[at].fn.name
		u.At = fmt.Sprintf("%s+%#x", s.frames[at].fn.name, s.frames[at].pc-s.frames[at].fn.start)
	}
	switch {
	case len(s.frames) == 0:
		u.Why = "its stack cannot be read"
	case sleepsForTime(s):
		u.Why = "it sleeps by itself, for time to pass or until someone wakes it: it is on no list of waiters"
	}
	b.snap.Unexplained = append(b.snap.Unexplained, u)
}

// sleepsForTime tells whether a task called schedule_timeout or the like and is in
// no function that waits for a lock.
func sleepsForTime(s *stack) bool {
	for i := range s.frames {
		switch fn := s.frames[i].fn; {
		case fn.classed && fn.class.role == roleWait:
			return false
		case fn.name == "schedule_timeout" || fn.name == "schedule_hrtimeout_range_clock" || fn.name == "do_nanosleep" || fn.name == "msleep":
			return true
		}
	}
	return false
}
