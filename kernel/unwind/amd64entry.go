package unwind

import (
	"github.com/kmortem/mortem/kernel"
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

func within(list []span, addr uint64) bool {
	for _, s := range list {
		if addr >= s.start && addr < s.end {
			return true
		}
	}
	return false
}
