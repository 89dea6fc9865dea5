package unwind

import (
	"github.com/kmortem/mortem/kernel"
)

// hooks are the trampolines that tracing puts in the place of return addresses.
type hooks struct {
	graph  uint64            // return_to_handler of function-graph tracing
	probes map[uint64]string // of kretprobes
	task   hookLayout
	entry  graphEntry
	node   rethookNode
	inst   kretprobeInstance
}

// hookLayout is what struct task_struct has of it: ret_stack since 2.6.30, with
// entries that know their place on the stack (retp) since 4.9 until 6.10, after
// which it became an array of words; rethooks since 6.0 (5.18 for fprobe), and
// kretprobe_instances from 5.11 on before that.
type hookLayout struct {
	kernel.Layout `kernel:"struct task_struct"`
	Stack         kernel.U64 `kernel:"ret_stack,optional"`
	Depth         kernel.I32 `kernel:"curr_ret_stack,optional"`
	Rethooks      kernel.U64 `kernel:"rethooks.first,optional"`
	Instances     kernel.U64 `kernel:"kretprobe_instances.first,optional"`
}

type graphEntry struct {
	kernel.Layout `kernel:"struct ftrace_ret_stack"`
	Return        kernel.U64 `kernel:"ret"`
	Slot          kernel.U64 `kernel:"retp"`
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

func (h *hooks) find(k *kernel.Kernel) {
	h.graph, _ = k.Symbol("return_to_handler")
	h.probes = map[uint64]string{}
	for _, name := range []string{"arch_rethook_trampoline", "__kretprobe_trampoline", "kretprobe_trampoline"} {
		if addr, err := k.Symbol(name); err == nil {
			h.probes[addr] = "kretprobe"
		}
	}
	// What the kernel has not stays without members, and is not looked at.
	_ = k.Resolve(&h.task)
	_ = k.Resolve(&h.entry)
	_ = k.Resolve(&h.node)
	_ = k.Resolve(&h.inst)
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

func (w *walk) graphReturn(slot uint64) (uint64, bool) {
	h := &w.t.hooks
	if w.task == nil || !h.task.Stack.Has() || !h.task.Depth.Has() || !h.entry.Slot.Has() {
		return 0, false
	}
	stack, err := w.words.at(w.task.Addr + h.task.Stack.Offset())
	if err != nil || stack == 0 {
		return 0, false
	}
	for i := range uint64(maxHooks) {
		at := stack + i*uint64(h.entry.Size())
		if place, err := w.words.at(at + h.entry.Slot.Offset()); err != nil || place != slot {
			continue
		}
		real, err := w.words.at(at + h.entry.Return.Offset())
		return real, err == nil && w.t.text.holds(real)
	}
	return 0, false
}

// probeReturn walks the probes' list of the task, the innermost first. A node
// knows the frame by the stack pointer at the function's entry or behind it.
func (w *walk) probeReturn(slot uint64) (uint64, bool) {
	h := &w.t.hooks
	if w.task == nil {
		return 0, false
	}
	head, next, ret, frame := h.task.Rethooks, h.node.List, h.node.Return, h.node.Frame
	if !head.Has() || !next.Has() {
		head, next, ret, frame = h.task.Instances, h.inst.List, h.inst.Return, h.inst.Frame
	}
	if !head.Has() || !next.Has() {
		return 0, false
	}
	node, err := w.words.at(w.task.Addr + head.Offset())
	for range maxHooks {
		if err != nil || node == 0 {
			return 0, false
		}
		node -= next.Offset()
		at, err1 := w.words.at(node + frame.Offset())
		real, err2 := w.words.at(node + ret.Offset())
		if err1 == nil && err2 == nil && (at == slot || at == slot+8) && w.t.text.holds(real) && w.t.hooks.probes[real] == "" {
			return real, true
		}
		node, err = w.words.at(node + next.Offset())
	}
	return 0, false
}
