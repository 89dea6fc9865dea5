package unwind

import "github.com/kmortem/mortem/kernel"

// graphReturn finds what function-graph tracing has put away for the return address
// that led to a caller (kernel/trace/fgraph.c).
func (w *walk) graphReturn(at returnPlace) (uint64, bool) {
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
	place := w.t.machine.graphPlace(&h.entry)
	switch {
	case h.shadow:
		return w.graphShadow(stack, place, at, depth)
	case place.Has():
		return w.graphArray(stack, place, at)
	}
	// Until 4.8 the kernel itself counts on x86-64: the innermost trampoline
	// stands for the last entry.
	i := depth - int64(w.graphs.nth(at.slot))
	if i < 0 || i >= maxHooks {
		return 0, false
	}
	return w.graphEntry(stack + uint64(i)*uint64(h.entry.Size()))
}

// graphEntry is the return address in an entry. One that was made when a function
// jumped to another that is traced too (a tail call) has the trampoline.
func (w *walk) graphEntry(at uint64) (uint64, bool) {
	real, err := w.words.at(at + w.t.hooks.entry.Return.Offset())
	real = w.t.k.CodeAddress(real)
	return real, err == nil && real != w.t.hooks.graph && w.realReturn(real)
}

// graphOf tells whether an entry is for the return address that led to a caller.
func (w *walk) graphOf(at uint64, key kernel.U64, of returnPlace) bool {
	value, err := w.words.at(at + key.Offset())
	return err == nil && w.t.machine.replaced(of, value)
}

// graphArray looks for an entry in the array of them: until 6.10. Those that are not
// in use any more come behind the others.
func (w *walk) graphArray(stack uint64, key kernel.U64, of returnPlace) (uint64, bool) {
	for i := range uint64(maxHooks) {
		at := stack + i*uint64(w.t.hooks.entry.Size())
		if !w.graphOf(at, key, of) {
			continue
		}
		if real, ok := w.graphEntry(at); ok {
			return real, true
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

// graphShadow looks for an entry from the top down.
func (w *walk) graphShadow(stack uint64, key kernel.U64, of returnPlace, depth int64) (uint64, bool) {
	if depth > shadowWords || !key.Has() {
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
		if !w.graphOf(at, key, of) {
			continue
		}
		if real, ok := w.graphEntry(at); ok {
			return real, true
		}
	}
	return 0, false
}
