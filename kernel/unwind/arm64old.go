package unwind

import (
	"strings"

	"github.com/kmortem/mortem/kernel/arch/arm64"
)

// arm64Old is for entry code until 4.13, which leaves no frame record in the struct
// pt_regs that it saves registers in: after an exception in the kernel the frame records
// go on with that of the interrupted function's caller.
type arm64Old struct {
	m            *arm64Machine
	user, kernel []span // entry code, by what was interrupted
	size         uint64 // of struct pt_regs in bytes
	begin        arm64Entry
}

func newARM64Old(m *arm64Machine) *arm64Old {
	size := uint64(288) // 4.6
	if t, err := m.k.Type("struct pt_regs"); err == nil {
		size = uint64(t.Size())
	}
	var user, kernel []string
	for sym := range m.k.Info().Symbols().All() {
		switch { // as el1_irq, el0_svc_naked
		case strings.HasPrefix(sym.Name, "el1_"):
			kernel = append(kernel, sym.Name)
		case strings.HasPrefix(sym.Name, "el0_"):
			user = append(user, sym.Name)
		}
	}
	user = append(user, "ret_to_user", "ret_fast_syscall", "work_pending", "work_resched", "__sys_trace", "__sys_trace_return")
	return &arm64Old{m: m, user: spans(m.k, user), kernel: spans(m.k, kernel), size: size, begin: arm64Entry{m}}
}

func (*arm64Old) method() Method   { return ByFrame }
func (*arm64Old) sure() Confidence { return Certain }

func (o *arm64Old) next(w *walk, s *state) (step, error) {
	switch {
	case s.exact && o.begin.fromUser(s):
		return step{exception: &Exception{User: true, Registers: o.begin.userRegisters(s)}}, nil
	case !s.exact && within(o.kernel, s.lookup()):
		return o.entry(w, s, o.left, o.below)
	case !s.exact && within(o.user, s.lookup()):
		return o.entry(w, s, o.left, o.outermost)
	case !s.exact && within(o.m.begins, s.lookup()), s.exact && within(o.m.begins, s.pc):
		return step{end: true}, nil
	}
	return step{}, errNoData
}

// entry makes the step from entry code to what it interrupted, by ways to find the
// registers.
func (o *arm64Old) entry(w *walk, s *state, ways ...func(*walk, *state) (step, bool)) (step, error) {
	for _, from := range ways {
		if n, ok := from(w, s); ok {
			return n, nil
		}
	}
	n, err := o.m.records.next(w, s)
	n.gap = s.fail(s.sp, "the registers that it saved were not found, so that what it interrupted is missing here", nil)
	return n, err
}

// left is for the IRQ stack, from 4.5 on, at whose beginning lies a record of another
// form: the frame pointer and the stack pointer of the stack that was left, which is where
// the registers are (irq_stack_entry).
func (o *arm64Old) left(w *walk, s *state) (step, bool) {
	fp, known := s.regs.Get(arm64.FP)
	if st := w.stackOf(fp); !known || st == nil || st.Name != irqStackName {
		return step{}, false
	}
	interrupted, err1 := w.word(s, fp)
	at, err2 := w.word(s, fp+8)
	if err1 != nil || err2 != nil {
		return step{}, false
	}
	n, ok := o.at(w, s, at)
	return n, ok && (n.exception.User || o.fp(&n) == interrupted)
}

// maxHandler bounds how much of the stack the function that entry code called has for
// itself, in bytes. Its frame record tells where that begins.
const maxHandler = 4096

// below looks for the registers behind the frame of the function that entry code called:
// their FP is that in the register, which it left alone, and their SP is behind them.
func (o *arm64Old) below(w *walk, s *state) (step, bool) {
	fp, known := s.regs.Get(arm64.FP)
	if !known {
		return step{}, false
	}
	for at := (s.sp + 15) &^ 15; at+o.size <= fp && at-s.sp < maxHandler; at += 16 {
		n, ok := o.at(w, s, at)
		if ok && !n.exception.User && o.fp(&n) == fp && n.state.sp == at+o.size {
			return n, true
		}
	}
	return step{}, false
}

// outermost is for exceptions from user mode, whose registers are at the end of the task's
// stack, or 16 bytes before it (THREAD_START_SP).
func (o *arm64Old) outermost(w *walk, s *state) (step, bool) {
	if w.own.End == 0 || !o.m.records.userTask(w) {
		return step{}, false
	}
	for _, end := range []uint64{w.own.End - 16, w.own.End} {
		if n, ok := o.at(w, s, end-o.size); ok && n.exception.User {
			return n, true
		}
	}
	return step{}, false
}

// at makes the step to what was interrupted, by its registers.
func (o *arm64Old) at(w *walk, s *state, regs uint64) (step, bool) {
	n := step{cfa: regs}
	if err := n.interrupted(w, s, regs, false); err != nil {
		return step{}, false
	}
	return n, n.exception.User || w.t.text.holds(n.state.pc)
}

func (*arm64Old) fp(n *step) uint64 {
	fp, _ := n.exception.Registers.Get(arm64.FP)
	return fp
}
