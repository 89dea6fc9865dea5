package unwind

import "github.com/kmortem/mortem/kernel"

// probeReturn finds what a kretprobe has put away for the return address that led to
// a caller (kernel/trace/rethook.c since 6.0, kernel/kprobes.c).
func (w *walk) probeReturn(at returnPlace) (uint64, bool) {
	h := &w.t.hooks
	switch {
	case w.task == nil:
		return 0, false
	case h.task.Rethooks.Has() && h.node.List.Has():
		return w.probeList(h.task.Rethooks, h.node.List, h.node.Return, h.node.Frame, at)
	case h.task.Instances.Has() && h.inst.List.Has():
		return w.probeList(h.task.Instances, h.inst.List, h.inst.Return, h.inst.Frame, at)
	case h.table != 0 && h.old.List.Has():
		return w.probeTable(at)
	}
	return 0, false
}

// probeEntry is the return address in an entry. Of several probes of one function
// only the first has it, the others have the trampoline.
func (w *walk) probeEntry(at uint64) (uint64, bool) {
	real, err := w.words.at(at)
	real = w.t.k.CodeAddress(real)
	return real, err == nil && w.t.hooks.of(real) != hookProbe && w.realReturn(real)
}

// probeList walks the probes' list of the task, the innermost first.
func (w *walk) probeList(head, next, ret, frame kernel.U64, at returnPlace) (uint64, bool) {
	node, err := w.words.at(w.task.Addr + head.Offset())
	for range maxHooks {
		if err != nil || node == 0 {
			return 0, false
		}
		node -= next.Offset()
		if key, err := w.words.at(node + frame.Offset()); err == nil && w.t.machine.replaced(at, key) {
			if real, ok := w.probeEntry(node + ret.Offset()); ok {
				return real, true
			}
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
func (w *walk) probeTable(at returnPlace) (uint64, bool) {
	h := &w.t.hooks
	left := w.probes.nth(at.slot)
	for bucket := range uint64(probeBuckets) {
		node, err := w.words.at(h.table + 8*bucket)
		for n := 0; err == nil && node != 0 && n < maxHooks; n++ {
			node -= h.old.List.Offset()
			if real, ok := w.oldProbe(node); ok {
				if h.old.Frame.Has() {
					key, err := w.words.at(node + h.old.Frame.Offset())
					if err == nil && w.t.machine.replaced(at, key) {
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

// oldProbe is the return address in an entry of the hash table, if it is one of the
// task.
func (w *walk) oldProbe(node uint64) (uint64, bool) {
	h := &w.t.hooks
	owner, err := w.words.at(node + h.old.Task.Offset())
	if err != nil || owner != w.task.Addr {
		return 0, false
	}
	return w.probeEntry(node + h.old.Return.Offset())
}
