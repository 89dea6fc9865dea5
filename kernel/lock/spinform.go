package lock

import (
	"fmt"

	"github.com/kmortem/mortem/kernel/ctype"
)

// spinKind is how a spinlock counts who has it and who comes next.
type spinKind uint8

const (
	spinUnknown spinKind = iota
	spinQueued           // since 4.2
	spinTicket           // from 2.6.25 to 4.1
	spinByte             // 2.6.24: 1 is free
)

// spinForm is the kernel's arch_spinlock_t (until 2.6.32 raw_spinlock_t).
type spinForm struct {
	kind spinKind
	half uint // bits of a ticket
	qrw  bool // struct qrwlock (since 3.16)
	// queue nodes
	nodes, stride, next, count uint64
	hasNodes                   bool
}

func (b *builder) readSpinForm() spinForm {
	var f spinForm
	t := typeOf(b.k, "struct qspinlock")
	raw := typeOf(b.k, "struct raw_spinlock", "struct arch_spinlock")
	f.qrw = typeOf(b.k, "struct qrwlock") != nil
	if t == nil && raw != nil {
		if m, err := raw.Field("raw_lock"); err == nil {
			if m.Type.HasField("val") {
				t = m.Type
			}
			raw = m.Type
		}
	}
	switch {
	case t != nil:
		f.kind = spinQueued
		b.readNodes(&f)
	case raw != nil && (raw.HasField("slock") || raw.HasField("tickets") || raw.HasField("head_tail")):
		f.kind, f.half = spinTicket, ticketBits(raw)
		if raw.HasField("slock") && !raw.HasField("tickets") && b.processors() < 256 {
			f.half = 8
		}
	}
	return f
}

// ticketBits is the width of a ticket: of its member, or half of the word.
func ticketBits(t *ctype.Type) uint {
	for _, path := range []string{"tickets.head", "head"} {
		if m, err := t.Field(path); err == nil && m.Type.Size() > 0 && m.Type.Size() <= 2 {
			return uint(m.Type.Size()) * 8
		}
	}
	return uint(min(max(t.Size(), 2), 4)) * 4
}

// processors is CONFIG_NR_CPUS, as far as the size of a set of them tells.
func (b *builder) processors() int64 {
	if t := typeOf(b.k, "struct cpumask"); t != nil {
		return t.Size() * 8
	}
	return 4096
}

// readNodes finds the per-CPU nodes on which processors queue: qnodes since 5.0,
// mcs_nodes before.
func (b *builder) readNodes(f *spinForm) {
	m := typeOf(b.k, "struct mcs_spinlock")
	var err error
	for _, name := range []string{"qnodes", "mcs_nodes"} {
		if f.nodes, err = b.k.Symbol(name); err == nil {
			break
		}
	}
	if m == nil || err != nil {
		return
	}
	var ok1, ok2 bool
	f.next, ok1 = at(m, "next")
	f.count, ok2 = at(m, "count")
	f.stride = uint64(m.Size())
	if q := typeOf(b.k, "struct qnode"); q != nil {
		f.stride = uint64(q.Size())
	}
	f.hasNodes = ok1 && ok2
}

// The fields of struct qspinlock (include/asm-generic/qspinlock_types.h) for fewer
// than 16384 processors; more of them leave one bit to pending.
const (
	qLocked     = 0xff
	qPending    = 0x100
	qTailIndex  = 16
	qTailCPU    = 18
	maxNesting  = 4
	qrwWriter   = 0xff
	qrwOldShift = 8
	qrwShift    = 9
)

// spinState says what a spinlock's word means.
func (f *spinForm) state(v uint32) (held bool, text string) {
	switch f.kind {
	case spinQueued:
		if v == 0 {
			return false, "not locked"
		}
		text = "not locked, but awaited"
		if v&qLocked != 0 {
			text = "locked"
		}
		if v&qPending != 0 {
			text += ", pending"
		}
		if v>>qTailCPU != 0 {
			text += fmt.Sprintf(", tail CPU %d", v>>qTailCPU-1)
		}
		return v&qLocked != 0, text
	case spinTicket:
		mask := uint32(1)<<f.half - 1
		head, tail := v&mask, v>>f.half&mask
		if head == tail {
			return false, "not locked"
		}
		return true, fmt.Sprintf("locked, serving %d, next %d: %d wait", head, tail, (tail-head)&mask-1)
	}
	return v != 0, fmt.Sprintf("%#x", v)
}

// rwState says what a rwlock's word means.
func (f *spinForm) rwState(v uint32) (held bool, text string) {
	if !f.qrw {
		// Until 3.15: RW_LOCK_BIAS less one for each reader, less all for a writer.
		const bias = 0x01000000
		switch {
		case v == bias:
			return false, "not locked"
		case v == 0 || int32(v) < 0:
			return true, "locked by a writer"
		case v < bias:
			return true, "locked by " + plural(uint64(bias-v), "reader")
		}
		return true, fmt.Sprintf("%#x", v)
	}
	switch {
	case v == 0:
		return false, "not locked"
	case v&qrwWriter == qrwWriter:
		return true, "locked by a writer"
	case v>>qrwShift == 0:
		return false, "not locked, but awaited"
	}
	return true, "locked by " + plural(uint64(v>>qrwShift), "reader")
}
