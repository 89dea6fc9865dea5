package unwind

import (
	"slices"

	"github.com/kmortem/mortem/kernel"
)

// hooks are the trampolines that tracing puts in the place of return addresses.
type hooks struct {
	graph  uint64   // return_to_handler of function-graph tracing, 0 if there is none
	probes []uint64 // of kretprobes
	code   []span   // where all of them lie
	task   hookLayout
	shadow bool // task_struct.ret_stack is an array of words
	entry  graphEntry
	node   rethookNode
	inst   kretprobeInstance
	old    oldInstance
	table  uint64 // kretprobe_inst_table, until 5.10
}

// hookLayout is what struct task_struct has of it: ret_stack since 2.6.29, and
// kretprobe_instances from 5.11 on, or rethooks since 6.0 (5.18 for fprobe).
type hookLayout struct {
	kernel.Layout `kernel:"struct task_struct"`
	Stack         kernel.U64 `kernel:"ret_stack,optional"`
	Depth         kernel.I32 `kernel:"curr_ret_stack,optional"`
	Rethooks      kernel.U64 `kernel:"rethooks.first,optional"`
	Instances     kernel.U64 `kernel:"kretprobe_instances.first,optional"`
}

// graphEntry is a return address that function-graph tracing took the place of,
// and which one that was: retp, since 4.9 on x86-64 and 5.17 on arm64. Before, and
// until 6.13 beside it, the frame pointer, which x86-64 leaves 0 with -mfentry.
type graphEntry struct {
	kernel.Layout `kernel:"struct ftrace_ret_stack"`
	Return        kernel.U64 `kernel:"ret"`
	Place         kernel.U64 `kernel:"retp,optional"`
	FP            kernel.U64 `kernel:"fp,optional"`
}

type rethookNode struct {
	kernel.Layout `kernel:"struct rethook_node"`
	List          kernel.U64 `kernel:"llist.next"`
	Return        kernel.U64 `kernel:"ret_addr"`
	Frame         kernel.U64 `kernel:"frame"`
}

type kretprobeInstance struct {
	kernel.Layout `kernel:"struct kretprobe_instance"`
	List          kernel.U64 `kernel:"llist.next"`
	Return        kernel.U64 `kernel:"ret_addr"`
	Frame         kernel.U64 `kernel:"fp"`
}

// oldInstance is a struct kretprobe_instance of kernels until 5.10, which hash
// them by task. It knows its frame since 5.1.
type oldInstance struct {
	kernel.Layout `kernel:"struct kretprobe_instance"`
	List          kernel.U64 `kernel:"hlist.next"`
	Return        kernel.U64 `kernel:"ret_addr"`
	Task          kernel.U64 `kernel:"task"`
	Frame         kernel.U64 `kernel:"fp,optional"`
}

// The names of the trampolines: that of kretprobes was renamed in 5.15, and is one of
// rethooks since 5.18 or, on other architectures, later.
const graphTrampoline = "return_to_handler"

var probeTrampolines = []string{"arch_rethook_trampoline", "__kretprobe_trampoline", "kretprobe_trampoline"}

func (h *hooks) find(k *kernel.Kernel) {
	h.graph, _ = k.Symbol(graphTrampoline)
	for _, name := range probeTrampolines {
		if addr, err := k.Symbol(name); err == nil {
			h.probes = append(h.probes, addr)
		}
	}
	h.code = spans(k, append([]string{graphTrampoline}, probeTrampolines...))
	h.table, _ = k.Symbol("kretprobe_inst_table")
	// What the kernel has not stays without members, and is not looked at.
	_ = k.Resolve(&h.task)
	_ = k.Resolve(&h.entry)
	_ = k.Resolve(&h.node)
	_ = k.Resolve(&h.inst)
	_ = k.Resolve(&h.old)
	if t, err := k.Type("struct task_struct"); err == nil {
		if f, err := t.Field("ret_stack"); err == nil {
			h.shadow = !f.Type.Strip().Elem().Strip().IsRecord()
		}
	}
}

// What return addresses are replaced by, as frames name it.
const (
	hookGraph = "function graph"
	hookProbe = "kretprobe"
)

// of is what a return address was replaced by, empty where it is none of the
// trampolines.
func (h *hooks) of(pc uint64) string {
	switch {
	case pc == h.graph && pc != 0:
		return hookGraph
	case slices.Contains(h.probes, pc):
		return hookProbe
	}
	return ""
}

// maxTogether bounds how many trampolines can stand for one another: a function can
// be traced and probed.
const maxTogether = 4

// returnPlace is what there is to tell a return address by.
type returnPlace struct {
	slot   uint64 // where on the stack it lies, 0 in a register
	sp, fp uint64 // the caller's
	framed bool   // fp is known
}

// unhook gives a caller the return address that a trampoline stands for. Where it is
// not found, the trampoline stays.
func (w *walk) unhook(s *state) {
	hook := w.t.hooks.of(s.pc)
	if hook == "" {
		return
	}
	at := returnPlace{slot: s.slot, sp: s.sp}
	at.fp, at.framed = s.regs.Get(w.t.reg.FP)
	s.hooked = hook
	for range maxTogether {
		real, ok := w.putAway(hook, at)
		if !ok {
			s.lost, s.note = true, "the function that the trampoline returns to is not known"
			return
		}
		s.pc = real
		s.regs.Set(w.t.reg.PC, real)
		if hook = w.t.hooks.of(real); hook == "" {
			return
		}
		s.hooked += ", " + hook
	}
}

// maxLookups bounds how many trampolines are looked up on one stack.
const maxLookups = 2048

// putAway is the return address that a tracer has put away.
func (w *walk) putAway(hook string, at returnPlace) (uint64, bool) {
	if w.lookups++; w.lookups > maxLookups {
		return 0, false
	}
	if hook == hookGraph {
		return w.graphReturn(at)
	}
	return w.probeReturn(at)
}

// inTrampoline unwinds from a trampoline that runs, to which a function has returned.
// Nothing on the stack leads on, but what the tracer has put away.
type inTrampoline struct{}

func (inTrampoline) method() Method   { return ByCode }
func (inTrampoline) sure() Confidence { return Certain }

func (inTrampoline) next(w *walk, s *state) (step, error) {
	caller, ok := w.t.machine.returned(w, s)
	if !ok {
		return step{}, errNoData
	}
	for _, code := range w.t.hooks.code {
		if within([]span{code}, s.lookup()) {
			caller.pc = code.start
		}
	}
	caller.regs.Set(w.t.reg.PC, caller.pc)
	if w.unhook(&caller); caller.lost || caller.hooked == "" {
		return step{}, errNoData
	}
	caller.slot = 0 // the trampoline has its place
	return step{state: caller, cfa: caller.sp}, nil
}

// realReturn tells whether an address that was put away is one to return to.
func (w *walk) realReturn(addr uint64) bool {
	return w.t.text.holds(addr) || w.t.machine.mayHold(addr)
}

// maxHooks bounds how deep return addresses are replaced (FTRACE_RETFUNC_DEPTH
// is 50).
const maxHooks = 256

// met are the places of trampolines that a walk has met, the innermost first.
type met []uint64

// nth is the number of a place.
func (m *met) nth(slot uint64) int {
	if i := slices.Index(*m, slot); i >= 0 {
		return i
	}
	*m = append(*m, slot)
	return len(*m) - 1
}
