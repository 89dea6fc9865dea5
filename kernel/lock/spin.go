package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/unwind"
)

// spinner looks whether a processor spins, and for what.
func (b *builder) spinner(c *unwind.CPU) {
	if c.Source == "" {
		b.fail(fmt.Errorf("CPU %d: the dump has no registers of it, so that it is not known whether it spins", c.Number))
		b.rtSpinner(c, &stack{tk: c.Task, cpu: c})
		return
	}
	s := b.running(c)
	b.snap.Coverage.Read++
	if s.trace != nil {
		b.unread(fmt.Sprintf("the stack of CPU %d", c.Number), s.trace.Err)
	}
	if b.rtSpinner(c, s) {
		return
	}
	i := s.innermost(roleSpin)
	if c.Task == nil {
		return
	}
	if i < 0 || !s.stillIn(i) {
		if f, ok := b.inLoop(s); ok {
			b.addWait(s, f, Wait{Mode: f.mode, Methods: []Method{f.method}, Sure: f.sure, Position: -1, Spinning: true})
		}
		return
	}
	f, ok := b.spinLock(s, i, c.Number)
	if !ok {
		t := b.task(c.Task)
		b.snap.Tasks[t].Doing = s.frames[i].fn.name
		b.snap.Unexplained = append(b.snap.Unexplained, Unexplained{Task: t, At: b.k.SymbolName(s.frames[i].pc),
			Why: "it spins, and which lock for was not found in its registers"})
		return
	}
	w := Wait{Mode: f.mode, Methods: []Method{f.method}, Sure: f.sure, Position: -1, Spinning: true}
	b.addWait(s, f, w)
}

// running walks the stack of a processor.
func (b *builder) running(c *unwind.CPU) *stack {
	s := &stack{tk: c.Task, cpu: c}
	trace := b.tracer.CPU(c, unwind.Options{Registers: true, Frames: b.frames})
	b.keep(s, &trace)
	if sp, ok := c.Registers.Get(b.regs.SP); ok && c.Task != nil && c.Task.Stack != 0 {
		end := c.Task.Stack + b.tracer.StackSize()
		// On another stack, as in an interrupt: the task's own begins where that
		// left it.
		for i := range s.frames {
			if st := s.frames[i].stack; st != nil && st.Name == "task" {
				sp = s.frames[i].sp
				break
			}
		}
		if sp >= c.Task.Stack && sp < end {
			b.unread(fmt.Sprintf("the stack of CPU %d", c.Number), b.readWords(s, sp&^7, end)) // registers are still there
		}
	}
	return s
}

// stillIn tells whether a frame's function is what the processor was in, with
// nothing but interrupts on top of it.
func (s *stack) stillIn(i int) bool {
	if i == 0 || !s.frames[i].ret {
		return true
	}
	for j := range i {
		if !s.frames[j].fn.classed || s.frames[j].fn.class.role != roleSpin && s.frames[j].fn.class.role != roleSched {
			return false
		}
	}
	return true
}

// spinLock finds the lock that the function of a frame spins for. The kind is that
// of the outermost function of the spinning ones: a rwlock has a spinlock inside.
func (b *builder) spinLock(s *stack, i, cpu int) (found, bool) {
	c := s.frames[i].fn.class
	last := i
	for j := i + 1; j < len(s.frames) && s.frames[j].fn.classed; j++ {
		o := s.frames[j].fn.class
		if o.kind != "" && (o.role == roleSpin || o.role == roleWait) {
			c, last = o, j
		}
	}
	f := found{kind: c.kind, mode: c.mode, method: ByRegister, frame: i, pos: -1, sure: Likely}
	if f.kind == "" {
		return f, false
	}
	inner := i
	if last > i && c.kind == RWLock && s.frames[i].fn.class.kind == Spinlock {
		inner = last
	}
	for _, v := range b.spinCandidates(s, inner, last) {
		if !b.spinPlausible(f.kind, v.addr) {
			continue
		}
		f.addr, f.method, f.value = v.addr, v.method, v.addr
		f.text = v.where
		b.seqlock(&f)
		return f, true
	}
	return f, false
}

type candidate struct {
	addr   uint64
	method Method
	where  string
}

// spinCandidates are the numbers that may be the lock's address: what the callers'
// code passed, the first argument's register, and the other registers.
func (b *builder) spinCandidates(s *stack, i, last int) []candidate {
	var list []candidate
	direct := s.frames[i].fn.class.argument
	if v, ok := s.register(i, b.arg); ok && direct && !s.frames[i].ret {
		list = append(list, candidate{v, ByRegister, b.regs.Name(b.arg)})
	}
	for j := i; j <= last; j++ {
		if v, ok := b.callArgument(s, j); ok {
			list = append(list, candidate{v, ByArgument, "what " + s.name(j+1) + " passed to " + s.frames[j].fn.name})
		}
	}
	if s.frames[i].ret {
		return list
	}
	for _, r := range b.regs.Order {
		v, ok := s.register(i, r)
		if ok && (r != b.arg || !direct) && r != b.regs.SP && r != b.regs.PC && !b.ownStack(s, v) {
			list = append(list, candidate{v, ByRegister, b.regs.Name(r)})
		}
	}
	return list
}

// ownStack tells whether an address lies on a task's stack. What others hold does not,
// and frame pointers do.
func (b *builder) ownStack(s *stack, addr uint64) bool {
	return s.tk != nil && s.tk.Stack != 0 && addr >= s.tk.Stack && addr-s.tk.Stack < b.tracer.StackSize()
}

func (s *stack) name(i int) string {
	if i < len(s.frames) {
		return s.frames[i].fn.name
	}
	return ""
}

// spinPlausible tells whether a lock that is awaited can lie at an address.
func (b *builder) spinPlausible(kind Kind, addr uint64) bool {
	if !inKernel(addr) || addr&3 != 0 || b.tracer.IsText(addr) {
		return false
	}
	switch kind {
	case Mutex, RWSem:
		l, ok := b.forms.locks[kind]
		if !ok {
			return false
		}
		owner, readable := b.uint64At(addr + l.owner)
		return readable && l.hasOwner && b.live[owner&^l.ownerFlags] != nil
	}
	v, ok := b.uint32At(addr)
	if !ok {
		return false
	}
	if kind == RWLock {
		held, _ := b.spins().rwState(v)
		return held
	}
	f := b.spins()
	if f.kind == spinQueued && (v&qLocked > 3 || v>>qTailCPU > uint32(b.processors())) {
		return false // no lock has such a value; 3 is a paravirtual one's
	}
	held, _ := f.state(v)
	return held || v != 0 && f.kind == spinQueued
}

// spins is the kernel's form of spinlocks, found at the first use.
func (b *builder) spins() *spinForm {
	if b.spin == nil {
		f := b.readSpinForm()
		b.spin = &f
	}
	return b.spin
}

// maxCode bounds the size of a function whose code is read.
const maxCode = 1 << 18

// code reads the code of a function, once.
func (b *builder) code(fn *function) []byte {
	if fn.start == 0 || fn.size == 0 || fn.size > maxCode {
		return nil
	}
	if c, ok := b.codes[fn.start]; ok {
		return c
	}
	c := make([]byte, fn.size)
	n, err := b.k.Read(c, fn.start)
	if !b.onlyAtStart(fn.start) {
		b.unread("the code of "+fn.name, err)
	}
	b.codes[fn.start] = c[:n]
	return c[:n]
}

// callArgument is the first argument that the caller of a frame's function passed.
// The function that it called may be one that jumped on to the frame's with the
// same argument, as _raw_spin_lock does to queued_spin_lock_slowpath.
func (b *builder) callArgument(s *stack, i int) (uint64, bool) {
	if i+1 >= len(s.frames) || s.trace == nil {
		return 0, false
	}
	caller := &s.frames[i+1]
	if !caller.ret || caller.fn.start == 0 || caller.pc < caller.fn.start {
		return 0, false
	}
	code := b.code(caller.fn)
	end := int(caller.pc - caller.fn.start)
	target, direct := b.arch.CallTarget(code, end, caller.fn.start)
	if !direct || !b.samePurpose(target, s.frames[i].fn) {
		return 0, false
	}
	if o, ok := b.arch.Argument(code, end, caller.fn.start, b.arg); ok {
		if v, ok := b.originValue(s, i+1, o); ok {
			return v, true
		}
	}
	// Where more than one way leads to the call, as to one out of line.
	if o := b.outstanding(caller); o != nil {
		v, _, ok := o.Argument(0, b.values(s, i+1))
		return v, ok
	}
	return 0, false
}

// samePurpose tells whether a called function is the one of a frame or one of the
// same class, which jumped to it.
func (b *builder) samePurpose(target uint64, fn *function) bool {
	if target == fn.start {
		return true
	}
	sym, off, ok := b.k.SymbolAt(target)
	if !ok || off != 0 {
		return false
	}
	c, ok := classOf(sym.Name)
	return ok && c.argument && (!fn.classed || c.kind == fn.class.kind || fn.class.kind == "")
}

// originValue works out the value that an argument had from what is known of the
// caller's frame.
func (b *builder) originValue(s *stack, i int, o arch.Origin) (uint64, bool) {
	v := uint64(o.Offset)
	if o.HasBase {
		var base uint64
		known := false
		if o.Base == b.regs.SP {
			base, known = s.frames[i].sp, true
		} else {
			base, known = s.register(i, o.Base)
		}
		if !known {
			return 0, false
		}
		v += base
	}
	if o.Load == 0 {
		return v, true
	}
	if o.Load == 4 {
		n, ok := b.uint32At(v)
		return uint64(n), ok
	}
	return b.uint64At(v)
}

// spinLocks reads the words of the spinlocks that are waited for, and puts the
// spinners in order.
func (b *builder) spinLocks() {
	for i := range b.snap.Locks {
		l := &b.snap.Locks[i]
		if b.extra[i].rtBase != 0 {
			continue
		}
		switch l.Kind {
		case Spinlock, Lockref:
			b.spinWord(i)
		case RWLock:
			if v, ok := b.uint32At(uint64(l.Addr)); ok {
				l.Held, l.State = b.spins().rwState(v)
				l.HeldKnown = true
			}
			l.NoHolder = "a rwlock does not say who holds it"
		case HlistBL, Seqlock:
			b.loopWord(i)
		}
	}
}

func (b *builder) spinWord(i int) {
	l := &b.snap.Locks[i]
	l.NoHolder = "a spinlock does not say who holds it"
	v, ok := b.uint32At(uint64(l.Addr))
	if !ok {
		l.Broken = "it cannot be read"
		b.fail(fmt.Errorf("spinlock at %#x cannot be read", uint64(l.Addr)))
		return
	}
	b.snap.Coverage.Read++
	l.Held, l.State = b.spins().state(v)
	l.HeldKnown = true
	b.spinOrder(i, v)
}

// spinOrder puts those who spin for a spinlock, whose word is given, in their order.
func (b *builder) spinOrder(i int, v uint32) {
	f := b.spins()
	if f.kind == spinQueued && f.hasNodes && v>>qTailCPU != 0 {
		b.spinQueue(i, v)
	} else if f.kind == spinQueued && v&qPending != 0 && v>>qTailCPU == 0 {
		b.soleSpinner(i)
	}
}

// queuesFor tells whether a wait is one for a lock's spinlock. Readers of a seqlock wait
// for its sequence.
func (b *builder) queuesFor(wait, lock int) bool {
	w := &b.snap.Waits[wait]
	return w.Lock == lock && (b.snap.Locks[lock].Kind != Seqlock || w.Mode != Read)
}

// soleSpinner: with nobody in the queue, the one that waits is the pending one.
func (b *builder) soleSpinner(i int) {
	n, last := 0, -1
	for w := range b.snap.Waits {
		if b.queuesFor(w, i) {
			n, last = n+1, w
		}
	}
	if n == 1 {
		b.snap.Waits[last].Position, b.snap.Waits[last].Sure = 0, Certain
	}
	b.snap.Locks[i].Queue = n
}

// spinQueue follows the queue of a spinlock backwards from its tail: each
// processor's node leads to the next one's.
func (b *builder) spinQueue(i int, v uint32) {
	f := b.spins()
	type owner struct{ cpu, index int }
	nodes := map[uint64]owner{}
	before := map[uint64]uint64{}
	var base [maxNesting]uint64
	tail := uint64(0)
	for _, c := range b.cpus {
		first, err := b.k.PerCPU(f.nodes, uint64(c.Number))
		if err != nil {
			continue
		}
		for n := range base {
			node := first + uint64(n)*f.stride
			nodes[node] = owner{c.Number, n}
			if c.Number == int(v>>qTailCPU-1) && n == int(v>>qTailIndex&3) {
				tail = node
			}
			if next, ok := b.uint64At(node + f.next); ok && next != 0 {
				before[next] = node
			}
		}
	}
	if tail == 0 {
		b.snap.Locks[i].Broken = "the processor at the tail of its queue is not online"
		return
	}
	var queue []int
	for at := tail; at != 0 && len(queue) <= len(nodes); at = before[at] {
		queue = append(queue, nodes[at].cpu)
	}
	b.orderSpinners(i, queue, v&qPending != 0)
}

// orderSpinners gives the spinners of a lock their places; queue is from the tail.
func (b *builder) orderSpinners(i int, queue []int, pending bool) {
	place := map[int]int{}
	first := 0
	if pending {
		first = 1
	}
	for n, cpu := range queue {
		place[cpu] = first + len(queue) - 1 - n
	}
	b.snap.Locks[i].Queue = first + len(queue)
	outside := -1
	for w := range b.snap.Waits {
		wait := &b.snap.Waits[w]
		if !b.queuesFor(w, i) {
			continue
		}
		if p, ok := place[b.snap.Tasks[wait.Task].CPU]; ok {
			wait.Position, wait.Sure = p, Certain
			wait.Methods = append(wait.Methods, ByQueueNode)
			continue
		}
		if outside >= 0 {
			outside = -2
		}
		if outside == -1 {
			outside = w
		}
	}
	if pending && outside >= 0 {
		b.snap.Waits[outside].Position = 0
	}
}
