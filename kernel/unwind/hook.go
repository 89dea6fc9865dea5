package unwind

import (
	"slices"

	"github.com/kmortem/mortem/kernel"
)

// hooks are the trampolines that tracing puts in the place of return addresses.
type hooks struct {
	graph  uint64            // return_to_handler of function-graph tracing
	probes map[uint64]string // of kretprobes
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

// graphEntry is a return address that function-graph tracing took the place of.
// Since 4.9 it knows where on the stack that was.
type graphEntry struct {
	kernel.Layout `kernel:"struct ftrace_ret_stack"`
	Return        kernel.U64 `kernel:"ret"`
	Slot          kernel.U64 `kernel:"retp,optional"`
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

func (h *hooks) find(k *kernel.Kernel) {
	h.graph, _ = k.Symbol("return_to_handler")
	h.probes = map[uint64]string{}
	for _, name := range []string{"arch_rethook_trampoline", "__kretprobe_trampoline", "kretprobe_trampoline"} {
		if addr, err := k.Symbol(name); err == nil {
			h.probes[addr] = "kretprobe"
		}
	}
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

// unhook finds the return address that a trampoline stands for. The name of
// the hook is empty for what is no trampoline; where the real address is not
// found, the trampoline stays.
func (w *walk) unhook(pc, slot uint64) (uint64, string) {
	h := &w.t.hooks
	switch {
	case pc == h.graph && pc != 0:
		if real, ok := w.graphReturn(slot); ok {
			return real, "function graph"
		}
		return pc, "function graph"
	case h.probes[pc] != "":
		if real, ok := w.probeReturn(slot); ok {
			return real, h.probes[pc]
		}
		return pc, h.probes[pc]
	}
	return pc, ""
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

// graphReturn finds what function-graph tracing has put away for a place on the
// stack (kernel/trace/fgraph.c).
func (w *walk) graphReturn(slot uint64) (uint64, bool) {
	h := &w.t.hooks
	if w.task == nil || !h.task.Stack.Has() || !h.task.Depth.Has() || !h.entry.Return.Has() {
		return 0, false
	}
	stack, err := w.words.at(w.task.Addr + h.task.Stack.Offset())
	if err != nil || stack == 0 {
		return 0, false
	}
	word, err := w.words.at(w.task.Addr + h.task.Depth.Offset())
	depth := int64(int32(word))
	if err != nil {
		return 0, false
	}
	switch {
	case h.shadow:
		return w.graphShadow(stack, slot, depth)
	case h.entry.Slot.Has():
		return w.graphSlot(stack, slot)
	}
	// Until 4.8 the kernel itself counts: the innermost trampoline stands for
	// the last entry.
	i := depth - int64(w.graphs.nth(slot))
	if i < 0 || i >= maxHooks {
		return 0, false
	}
	return w.graphEntry(stack + uint64(i)*uint64(h.entry.Size()))
}

// graphEntry is the return address in an entry.
func (w *walk) graphEntry(at uint64) (uint64, bool) {
	real, err := w.words.at(at + w.t.hooks.entry.Return.Offset())
	return real, err == nil && real != w.t.hooks.graph && w.t.text.holds(real)
}

// graphSlot looks for the entry of a place on the stack: 4.9 to 6.10.
func (w *walk) graphSlot(stack, slot uint64) (uint64, bool) {
	h := &w.t.hooks
	for i := range uint64(maxHooks) {
		at := stack + i*uint64(h.entry.Size())
		if place, err := w.words.at(at + h.entry.Slot.Offset()); err == nil && place == slot {
			return w.graphEntry(at)
		}
	}
	return 0, false
}

// The shadow stack since 6.11 is a page of words. Behind each entry lie words that
// users of the tracer keep there, and one whose low bits count the words back to
// the entry (FGRAPH_FRAME_OFFSET_MASK); curr_ret_stack counts all words.
const (
	shadowWords  = 4096 / 8
	shadowOffset = 1<<10 - 1
)

// graphShadow looks for the entry of a place on the stack, from the top down.
func (w *walk) graphShadow(stack, slot uint64, depth int64) (uint64, bool) {
	h := &w.t.hooks
	if depth > shadowWords || !h.entry.Slot.Has() {
		return 0, false
	}
	for depth > 0 {
		depth--
		top, err := w.words.at(stack + uint64(depth)*8)
		back := int64(top & shadowOffset)
		if err != nil || back == 0 || back > depth {
			return 0, false
		}
		depth -= back
		at := stack + uint64(depth)*8
		if place, err := w.words.at(at + h.entry.Slot.Offset()); err != nil || place != slot {
			continue
		}
		if real, ok := w.graphEntry(at); ok {
			return real, true
		}
	}
	return 0, false
}

// probeReturn finds what a kretprobe has put away for a place on the stack
// (kernel/trace/rethook.c since 6.0, kernel/kprobes.c).
func (w *walk) probeReturn(slot uint64) (uint64, bool) {
	h := &w.t.hooks
	switch {
	case w.task == nil:
		return 0, false
	case h.task.Rethooks.Has() && h.node.List.Has():
		return w.probeList(h.task.Rethooks, h.node.List, h.node.Return, h.node.Frame, slot)
	case h.task.Instances.Has() && h.inst.List.Has():
		return w.probeList(h.task.Instances, h.inst.List, h.inst.Return, h.inst.Frame, slot)
	case h.table != 0 && h.old.List.Has():
		return w.probeTable(slot)
	}
	return 0, false
}

// real tells whether an address that a probe put away is one to return to. Of
// several probes of one function only the first has it, the others have the
// trampoline.
func (w *walk) real(addr uint64) bool {
	return w.t.hooks.probes[addr] == "" && w.t.text.holds(addr)
}

// probeList walks the probes' list of the task, the innermost first. A node
// knows the frame by the stack pointer at the function's entry or behind it.
func (w *walk) probeList(head, next, ret, frame kernel.U64, slot uint64) (uint64, bool) {
	node, err := w.words.at(w.task.Addr + head.Offset())
	for range maxHooks {
		if err != nil || node == 0 {
			return 0, false
		}
		node -= next.Offset()
		at, err1 := w.words.at(node + frame.Offset())
		real, err2 := w.words.at(node + ret.Offset())
		if err1 == nil && err2 == nil && (at == slot || at == slot+8) && w.real(real) {
			return real, true
		}
		node, err = w.words.at(node + next.Offset())
	}
	return 0, false
}

// probeBuckets is the size of kretprobe_inst_table (KPROBE_TABLE_SIZE).
const probeBuckets = 64

// probeTable looks for the probes of the task in the hash table of all: until
// 5.10. They are of one bucket, the innermost first, and are counted where they do
// not know their frames. The hash function changed in 4.7, and so all buckets are
// looked at.
func (w *walk) probeTable(slot uint64) (uint64, bool) {
	h := &w.t.hooks
	left := w.probes.nth(slot)
	for bucket := range uint64(probeBuckets) {
		node, err := w.words.at(h.table + 8*bucket)
		for n := 0; err == nil && node != 0 && n < maxHooks; n++ {
			node -= h.old.List.Offset()
			owner, err1 := w.words.at(node + h.old.Task.Offset())
			real, err2 := w.words.at(node + h.old.Return.Offset())
			if err1 == nil && err2 == nil && owner == w.task.Addr && w.real(real) {
				if h.old.Frame.Has() {
					at, err := w.words.at(node + h.old.Frame.Offset())
					if err == nil && (at == slot || at == slot+8) {
						return real, true
					}
				} else if left--; left < 0 {
					return real, true
				}
			}
			node, err = w.words.at(node + h.old.List.Offset())
		}
	}
	return 0, false
}
