package unwind

import (
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/arch"
	"github.com/kmortem/mortem/kernel/arch/amd64"
)

// entryCode is where stacks end in kernels without ORC, whose entry code says
// nothing of its frames: the functions that threads begin in, and those that are
// entered from user mode, which leave its registers at the end of the task's
// stack.
type entryCode struct {
	user   []span // entered from user mode
	begins []span // nothing called them
	all    []span // entry code of any kind, since 4.9 between two symbols
	// keepsBP tells that it leaves BP as it was: until 4.8.
	keepsBP bool
}

// userEntries are the names of the code for system calls, and of exceptions that
// mostly come from user mode; they were renamed in 4.2 and 5.8.
var userEntries = []string{
	"entry_SYSCALL_64", "entry_SYSCALL_64_after_hwframe", "entry_SYSENTER_compat", "entry_SYSCALL_compat", "entry_INT80_compat",
	"system_call", "system_call_fastpath", "system_call_after_swapgs", "ret_from_sys_call", "sysret_check", "sysret_careful",
	"sysret_signal", "tracesys", "int_ret_from_sys_call", "int_with_check", "int_careful", "int_very_careful", "int_signal",
	"ia32_sysenter_target", "ia32_cstar_target", "ia32_syscall", "sysenter_dispatch", "cstar_dispatch", "retint_user",
	"retint_careful", "retint_signal", "retint_swapgs", "stub_clone", "stub_fork", "stub_vfork", "stub_execve",
}

// threadStarts are where threads and processors begin.
var threadStarts = []string{
	"ret_from_fork", "ret_from_fork_asm", "child_rip", "kernel_thread_helper", "secondary_startup_64",
	"secondary_startup_64_no_verify", "x86_64_start_kernel", "start_secondary",
}

func newEntryCode(k *kernel.Kernel) *entryCode {
	e := &entryCode{user: spans(k, userEntries), begins: spans(k, threadStarts)}
	start, err1 := k.Symbol("__entry_text_start")
	end, err2 := k.Symbol("__entry_text_end")
	if err1 == nil && err2 == nil && start < end {
		e.all = []span{{start, end}}
	}
	return e
}

// spans are the places of those functions that the kernel has. One whose size is
// not known reaches up to the next symbol.
func spans(k *kernel.Kernel, names []string) []span {
	var list []span
	symbols := k.Info().Symbols()
	for _, name := range names {
		sym, ok := symbols.Lookup(name)
		if !ok {
			continue
		}
		size := sym.Size
		for size == 0 || size < pageSize {
			next, ok := symbols.Containing(sym.Addr + size)
			if !ok || next.Addr != sym.Addr || next.Name != sym.Name {
				break
			}
			size++
		}
		list = append(list, span{k.Runtime(sym.Addr), k.Runtime(sym.Addr) + size})
	}
	return list
}

func (*entryCode) method() Method   { return ByCode }
func (*entryCode) sure() Confidence { return Likely }

func (e *entryCode) next(w *walk, s *state) (step, error) {
	at := s.lookup()
	if within(e.begins, at) {
		return step{end: true}, nil
	}
	if n, ok := interruptLink(w, s); ok {
		return n, nil
	}
	if n, ok := e.handed(w, s); ok {
		return n, nil
	}
	regs := w.own.End - uint64(amd64.PtRegsSize)
	fromUser := within(e.user, at) && w.own.End != 0 && s.sp <= regs && w.stackOf(s.sp) == w.own
	if !fromUser && !within(e.all, at) {
		return step{}, errNoData
	}
	if !fromUser {
		regs = s.sp // what entry code passes to the handlers of exceptions
	}
	var n step
	if err := n.interrupted(w, s, regs, false); err != nil {
		return step{}, errNoData
	}
	if !n.exception.User && (fromUser || !w.t.text.holds(n.state.pc)) {
		return step{}, errNoData
	}
	return n, nil
}

// What the word at the top of the IRQ stack points to in the struct pt_regs on the stack
// that was left: to the place of BP (SAVE_ARGS_IRQ, 3.1 to 4.1), or to that of BX, where
// BP was put (save_args, until 3.0).
const linkToBP, linkToBX = 4 * 8, 5 * 8

// interruptLink makes the step from entry code that switched to the IRQ stack to
// what it interrupted. Call frame information says so since 3.1 only. A further
// interrupt stays on that stack: the word is at the stack pointer then (3.1 to 4.1), or
// in BP (until 3.0).
func interruptLink(w *walk, s *state) (step, bool) {
	st := w.stackOf(s.sp)
	if st == nil || st.Name != irqStackName {
		return step{}, false
	}
	if top := w.t.irqTop(st.CPU); s.sp <= top && top-s.sp <= 16 {
		link, err := w.words.at(top - 8)
		if err != nil || w.stackOf(link) == nil {
			return step{}, false
		}
		return linked(w, s, link, linkToBP, linkToBX)
	}
	if link, err := w.words.at(s.sp); err == nil && !s.exact && link > s.sp && w.stackOf(link) == st {
		if n, ok := linked(w, s, link, linkToBP); ok {
			return n, true
		}
	}
	if bp, known := s.regs.Get(amd64.BP); known && !s.exact && bp >= s.sp && w.stackOf(bp) == st {
		return linked(w, s, bp, linkToBX)
	}
	return step{}, false
}

// linked makes the step to what was interrupted, by the word that points to its struct
// pt_regs.
func linked(w *walk, s *state, link uint64, offsets ...uint64) (step, bool) {
	for _, offset := range offsets {
		var n step
		regs := link - offset
		if err := n.interrupted(w, s, regs, false); err != nil {
			continue
		}
		end := regs + uint64(amd64.PtRegsSize)
		if !n.exception.User && (!w.t.text.holds(n.state.pc) || n.state.sp < end || n.state.sp-end > 8) {
			continue // the processor aligns the stack to 16 bytes
		}
		n.unsaved(s, amd64.BX, amd64.R12, amd64.R13, amd64.R14, amd64.R15)
		if bp, err := w.words.at(link); err == nil {
			n.state.regs.Set(amd64.BP, bp)
			n.exception.Registers.Set(amd64.BP, bp)
		}
		n.cfa = end
		return n, true
	}
	return step{}, false
}

// handed makes the step from entry code of exceptions, which hands a struct pt_regs at
// its stack pointer to the handler, to what was interrupted. Until 4.8 it leaves BP as it
// was, by which it is told from any other function; since 4.9 BP says where the registers
// are.
func (e *entryCode) handed(w *walk, s *state) (step, bool) {
	bp, known := s.regs.Get(amd64.BP)
	if !known || s.exact || !e.keepsBP {
		return step{}, false
	}
	var n step
	if err := n.interrupted(w, s, s.sp, false); err != nil {
		return step{}, false
	}
	if saved, _ := n.exception.Registers.Get(amd64.BP); saved != bp {
		return step{}, false
	}
	end := s.sp + uint64(amd64.PtRegsSize)
	n.cfa = end
	if n.exception.User {
		return n, end == w.own.End
	}
	here := w.stackOf(n.state.sp) == w.stackOf(s.sp)
	if !w.t.text.holds(n.state.pc) || here && (n.state.sp < end || n.state.sp-end > 8) {
		return step{}, false // the processor aligns the stack to 16 bytes
	}
	return n, true
}

// unsaved takes registers that entry code leaves to the functions that it calls
// from what these have saved: their places in the struct pt_regs hold anything.
func (n *step) unsaved(s *state, regs ...arch.Reg) {
	for _, r := range regs {
		n.state.regs.Forget(r)
		n.exception.Registers.Forget(r)
		if v, known := s.regs.Get(r); known {
			n.state.regs.Set(r, v)
			n.exception.Registers.Set(r, v)
		}
	}
}

func within(list []span, addr uint64) bool {
	for _, s := range list {
		if addr >= s.start && addr < s.end {
			return true
		}
	}
	return false
}
