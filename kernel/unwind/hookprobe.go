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

// probeTable looks for the probes of the task in the hash table of all: until 5.10. They
// are counted where they do not know their frames.
func (w *walk) probeTable(at returnPlace) (uint64, bool) {
	left := w.probes.nth(at.slot)
	for _, p := range w.t.oldProbes()[w.task.Addr] {
		real, ok := w.probeEntry(p + w.t.hooks.old.Return.Offset())
		if !ok {
			continue
		}
		if frame := w.t.hooks.old.Frame; frame.Has() {
			if key, err := w.words.at(p + frame.Offset()); err == nil && w.t.machine.replaced(at, key) {
				return real, true
			}
		} else if left--; left < 0 {
			return real, true
		}
	}
	return 0, false
}

const (
	probeBuckets = 64      // size of kretprobe_inst_table (KPROBE_TABLE_SIZE)
	maxProbes    = 1 << 18 // bounds the entries of all tasks
)

// oldProbes are the entries of kretprobe_inst_table by the address of their task. Those of
// a task are in one bucket, the innermost first; which one that is changed in 4.7, and so
// all are read, once.
func (t *Tracer) oldProbes() map[uint64][]uint64 {
	t.probeOnce.Do(func() {
		t.probesOf = map[uint64][]uint64{}
		var w words
		w.reset(t.mem)
		old, met := &t.hooks.old, map[uint64]bool{}
		for bucket := range uint64(probeBuckets) {
			node, err := w.at(t.hooks.table + 8*bucket)
			for err == nil && node != 0 && !met[node] && len(met) < maxProbes {
				met[node] = true
				entry := node - old.List.Offset()
				if owner, err := w.at(entry + old.Task.Offset()); err == nil {
					t.probesOf[owner] = append(t.probesOf[owner], entry)
				}
				node, err = w.at(node)
			}
		}
	})
	return t.probesOf
}
