package lock

import "fmt"

// futexForm is struct futex_q, which a waiter has on its stack, with the key by which
// the kernel tells futexes apart (kernel/futex/futex.h, include/linux/futex.h).
type futexForm struct {
	task, key, word, offset uint64
	size                    uint64
}

// Flags in the lowest bits of futex_key.both.offset (FUT_OFF_INODE, FUT_OFF_MMSHARED).
const (
	futexInode = 1
	futexFlags = 3
)

// futexWait finds the futex that a task waits for. It is no word of the kernel's: its
// address is the process's own, or a place in a file for one that processes share.
func (b *builder) futexWait(s *stack, i int) (found, bool) {
	var form futexForm
	t := typeOf(b.k, "struct futex_q")
	var ok1, ok2, ok3, ok4 bool
	form.task, ok1 = at(t, "task")
	form.key, ok2 = at(t, "key.both.ptr")
	form.word, ok3 = at(t, "key.both.word")
	form.offset, ok4 = at(t, "key.both.offset")
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return found{}, false
	}
	form.size = uint64(t.Size())
	for off := 0; off+8 <= len(s.words); off += 8 {
		if le64(s.words[off:]) != s.tk.Addr {
			continue
		}
		q := s.lo + uint64(off) - form.task
		if !s.holds(q, form.size) {
			continue
		}
		id, word, offset := s.word(q+form.key), s.word(q+form.word), s.word(q+form.offset)&0xffffffff
		if offset&^futexFlags >= 4096 || id == 0 {
			continue
		}
		f := found{kind: Futex, id: id, addr: word + offset&^futexFlags, method: ByRecord, sure: Likely, frame: i, slot: q, pos: -1}
		f.purpose = fmt.Sprintf("in the memory of process %d", s.tk.TGID)
		if offset&futexInode != 0 {
			f.addr = word<<12 + offset&^futexFlags
			f.purpose = "shared, by its place in a file in bytes"
		}
		return f, true
	}
	return found{}, false
}
