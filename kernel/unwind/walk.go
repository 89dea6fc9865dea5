package unwind

import (
	"errors"

	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/task"
)

// unwinder finds the frame that led into another. Each method is one.
type unwinder interface {
	method() Method
	sure() Confidence
	// next finds the caller of a function, or what it interrupted. The error
	// is errNoData where the method knows nothing of the function, and a
	// *StackError where the stack is not as it says.
	next(w *walk, s *state) (step, error)
}

// state is where a function is.
type state struct {
	regs   arch.Registers
	pc, sp uint64
	exact  bool   // pc is of an instruction, not where a call returns to
	slot   uint64 // where pc was found on the stack
	hooked string
	lost   bool // pc is a trampoline, and what that returns to is not known
	method Method
	sure   Confidence
	note   string
	// aside tells that the frame lies beside the chain that leads on: what is
	// found from there does not depend on it.
	aside bool
}

func (s *state) lookup() uint64 {
	if s.exact {
		return s.pc
	}
	return s.pc - 1
}

func (s *state) fail(addr uint64, why string, err error) error {
	return &StackError{PC: s.pc, Addr: addr, Why: why, Err: err}
}

func (t *Tracer) fromRegisters(regs arch.Registers) state {
	s := state{regs: regs, exact: true, method: ByRegisters, sure: Certain}
	s.pc, _ = regs.Get(t.reg.PC)
	s.sp, _ = regs.Get(t.reg.SP)
	return s
}

// walk is the work on one stack.
type walk struct {
	t     *Tracer
	opt   Options
	words words
	own   *Stack  // the task's, of size 0 where that is not known
	cpu   []Stack // those of the processor it runs on
	task  *task.Task
	left  [16]*Stack // stacks that the walk has left for another
	nleft int
	// trampolines met that are told apart by their order only
	graphs, probes met
	lookups        int // of them

	trial bool // only whether it ends well matters
	code  [16]byte
}

func (w *walk) begin(t *Tracer, tk *task.Task, cpu int, opt Options) {
	if opt.Limit <= 0 {
		opt.Limit = defaultLimit
	}
	*w = walk{t: t, opt: opt, task: tk, own: new(Stack)}
	w.words.reset(t.mem)
	if tk != nil && tk.Stack != 0 {
		*w.own = Stack{Name: "task", CPU: -1, Start: tk.Stack, End: tk.Stack + t.size}
	}
	if cpu >= 0 {
		w.cpu = t.cpuStacks(cpu)
	}
}

// stackOf is the stack that an address is on, nil if on none. The end of a
// stack belongs to it, for that is where the stack pointer of an empty one is.
func (w *walk) stackOf(addr uint64) *Stack {
	if addr >= w.own.Start && addr <= w.own.End && w.own.End != 0 {
		return w.own
	}
	for i := range w.cpu {
		if s := &w.cpu[i]; addr >= s.Start && addr < s.End {
			return s
		}
	}
	for i := range w.cpu {
		if s := &w.cpu[i]; addr == s.End {
			return s
		}
	}
	return nil
}

// word reads a word that must lie on a stack.
func (w *walk) word(s *state, addr uint64) (uint64, error) {
	if st := w.stackOf(addr); st == nil || !st.holds(addr, 8) {
		return 0, s.fail(addr, "its frame is on no stack", nil)
	}
	v, err := w.words.at(addr)
	if err != nil {
		return 0, s.fail(addr, "its frame cannot be read", err)
	}
	return v, nil
}

// run walks from a state to the end.
func (w *walk) run(s state) Trace {
	tr := Trace{Frames: w.opt.Frames[:0]}
	if w.t.arch.User(&s.regs) {
		tr.User, tr.End = &Exception{User: true, Registers: s.regs}, EndUser
		return tr
	}
	for {
		tr.Frames = append(tr.Frames, w.frame(&s))
		if len(tr.Frames) >= w.opt.Limit {
			tr.End = EndLimit
			return tr
		}
		f := &tr.Frames[len(tr.Frames)-1]
		n, err := w.next(&tr, &s)
		f.Exception = n.exception
		switch {
		case err != nil:
			tr.End, tr.Err = EndBroken, err
			return tr
		case n.end && w.opt.Scan:
			tr.End = EndStack
			return tr
		case n.end:
			tr.End = EndThread
			return tr
		case n.exception != nil && n.exception.User:
			f.CFA, tr.End, tr.User = n.cfa, EndUser, n.exception
			return tr
		}
		f.CFA = n.cfa
		s = n.state
	}
}

func (w *walk) frame(s *state) Frame {
	return Frame{PC: s.pc, Return: !s.exact, SP: s.sp, Slot: s.slot, Method: s.method, Sure: s.sure,
		Stack: w.stackOf(s.sp), Registers: s.regs, Hooked: s.hooked, Note: s.note}
}

// next tries the methods in turn.
func (w *walk) next(tr *Trace, s *state) (step, error) {
	var why error
	for i := range methods {
		u := w.method(i, s)
		if u == nil {
			continue
		}
		n, err := u.next(w, s)
		if err == errStart {
			return step{end: true}, nil
		}
		if err == nil && !n.end {
			err = w.progress(s, &n)
		}
		if err == nil {
			w.accept(tr, s, &n, u)
			return n, nil
		}
		if why == nil || errors.Is(why, errNoData) {
			why = err
		}
	}
	switch {
	case s.lost:
		why = s.fail(0, "it is a trampoline, and what that returns to was not found", nil)
	case errors.Is(why, errNoData) || why == nil:
		why = s.fail(0, "there is no unwind data for it", nil)
	}
	return w.resort(tr, s, why)
}

// accept completes a step that a method found.
func (w *walk) accept(tr *Trace, s *state, n *step, u unwinder) {
	if n.exception == nil && !n.end {
		w.unhook(&n.state)
		if fp, ok := w.t.machine.restored(w, n.state.pc, n.state.sp); ok {
			n.state.regs.Set(w.t.reg.FP, fp)
		}
	}
	w.describe(n, s, u)
	if n.gap != nil && len(tr.Faults) < maxFaults {
		tr.Faults = append(tr.Faults, n.gap)
		n.state.note = n.gap.Error()
	}
}

// resort searches for a return address where no method has found the caller.
func (w *walk) resort(tr *Trace, s *state, why error) (step, error) {
	if w.trial || len(tr.Faults) >= maxFaults {
		return step{}, why
	}
	n, ok := w.search(s)
	switch {
	case !ok && w.opt.Scan && w.stackOf(s.sp) != nil:
		return step{end: true}, nil
	case !ok:
		return step{}, why
	case !w.opt.Scan:
		tr.Faults = append(tr.Faults, why)
		n.state.note = why.Error()
	}
	return n, nil
}

// maxFaults bounds how often a search for return addresses may take over.
const maxFaults = 8

// methods is how many there are for method to choose from.
const methods = 6

// method is the n-th to try for a function, the best first; nil where that one is
// not for this function.
func (w *walk) method(n int, s *state) unwinder {
	switch {
	case w.opt.Scan:
		return nil
	case n == 0 && !s.lost && within(w.t.hooks.code, s.lookup()):
		return inTrampoline{}
	case n == 0 && s.exact:
		return midSwitch{}
	case s.lost && n == 1:
		return w.t.machine.frames(s, true)
	case s.lost: // the trampoline's own data tell nothing of who called
		return nil
	}
	image := w.t.text.inImage(s.lookup())
	module := !image && w.t.text.inModule(s.lookup())
	switch n {
	case 1:
		return w.t.machine.tables()
	case 2:
		// Also with ORC: objtool leaves some functions out, which are
		// marked with STACK_FRAME_NON_STANDARD.
		if image || module {
			if c := w.t.cfiAt(s.lookup()); c != nil {
				return c
			}
		}
	case 3:
		return w.t.machine.entries()
	case 4, 5:
		if (n == 4) == w.t.machine.framesFirst(s) {
			return w.t.machine.frames(s, image || module)
		}
		if !w.trial && (image || module) {
			return byCode{}
		}
	}
	return nil
}

// describe says how the next frame was found. A frame is no surer than the one
// that it was found from.
func (w *walk) describe(n *step, s *state, u unwinder) {
	n.state.method, n.state.sure = u.method(), u.sure()
	if n.exception != nil {
		n.state.method = ByException
	}
	if s.sure == Suspected || s.sure == Likely && n.state.sure == Certain && !s.aside {
		n.state.sure = s.sure
	}
	if w.opt.Registers && n.exception == nil && u.method() != ByCFI && u.method() != ByCode {
		w.savedRegisters(s, n)
	}
}

// savedRegisters adds the registers that the function saved, by CFI or by its
// code, whichever agrees on the frame.
func (w *walk) savedRegisters(s *state, n *step) {
	other, ok := step{}, false
	if c := w.t.cfiAt(s.lookup()); c != nil {
		var err error
		other, err = c.next(w, s)
		ok = err == nil && other.state.slot == n.state.slot
	}
	if !ok {
		var err error
		other, err = byCode{}.next(w, s)
		ok = err == nil && other.state.slot == n.state.slot
	}
	if !ok {
		return
	}
	fp, known := n.state.regs.Get(w.t.reg.FP)
	n.state.regs = other.state.regs
	if known {
		n.state.regs.Set(w.t.reg.FP, fp)
	}
	n.state.regs.Set(w.t.reg.PC, n.state.pc)
}

// progress checks that a step leads outwards: upwards on the same stack, or to
// a stack that the walk has not been on.
func (w *walk) progress(s *state, n *step) error {
	if n.exception != nil && n.exception.User {
		return nil
	}
	from, to := w.stackOf(s.sp), w.stackOf(n.state.sp)
	if to == nil {
		if w.overflowed(n.state.sp) {
			return nil
		}
		return s.fail(n.state.sp, "the next frame is on no stack", nil)
	}
	if from == to {
		if n.state.sp < s.sp || n.state.sp == s.sp && !(s.exact && n.state.slot == 0) {
			return s.fail(n.state.sp, "the next frame lies further down", nil)
		}
		return nil
	}
	for _, old := range w.left[:w.nleft] {
		if old == to {
			return s.fail(n.state.sp, "the next frame is on the "+to.Name+" stack, which was left before", nil)
		}
	}
	if from != nil {
		if w.nleft == len(w.left) {
			return s.fail(n.state.sp, "it is on one stack too many", nil)
		}
		w.left[w.nleft] = from
		w.nleft++
	}
	return nil
}

// overflowed tells whether a stack pointer is just below the task's stack, where
// a guard page stops what overflows.
func (w *walk) overflowed(sp uint64) bool {
	return w.own.End != 0 && sp < w.own.Start && w.own.Start-sp <= pageSize
}
