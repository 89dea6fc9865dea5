// Package list walks the kernel's linked lists: struct list_head, struct
// hlist_head and struct hlist_bl_head (include/linux/types.h, list.h,
// list_bl.h; their two pointers have not moved in any release). Every step
// checks the pointer back, so that a list that was torn or overwritten is
// noticed at the place where it breaks, and no walk can go in a circle. A dump
// may catch a CPU between the stores that link or unlink one entry; Slack lets
// that pass.
package list

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// Memory is kernel virtual memory; *kernel.Kernel is one.
type Memory interface {
	Peek(virt uint64, buf []byte) ([]byte, error)
}

// BreakError says where a list breaks. What was yielded before it is sound.
type BreakError struct {
	Head   uint64 // virtual address of the list's head
	At     uint64 // virtual address of the node that is wrong
	Index  int    // how many nodes came before it
	Reason string // what is wrong with it
	Err    error  // why it cannot be read, where that is so
}

// Error implements error.
func (e *BreakError) Error() string {
	s := fmt.Sprintf("list at %#x breaks at its entry %d, %#x: %s", e.Head, e.Index, e.At, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap makes errors.Is and errors.As work for the cause.
func (e *BreakError) Unwrap() error { return e.Err }

// The values that list_del and hlist_del leave behind, less the kernel's
// POISON_POINTER_DELTA (include/linux/poison.h).
const (
	poison1 = 0x100
	poison2 = 0x122 // 0x200 before 4.15
)

// poisoned tells whether a pointer is what deletion left behind.
func poisoned(p uint64) bool {
	low := p & 0xfff
	high := p &^ 0xfff
	return (high == 0xdead000000000000 || high == 0) && (low == poison1 || low == poison2 || low == 0x200)
}

func unreadable(p uint64) string {
	switch {
	case p == 0:
		return "it is NULL"
	case poisoned(p):
		return "it is list poison: the entry before it was deleted"
	}
	return "it cannot be read"
}

func tooLong(i, limit int) string {
	if i >= limit {
		return "it has more entries than there can be"
	}
	return "it was passed before: the list goes in a circle"
}

// Circular yields the addresses of the struct list_head entries behind the one
// at the kernel virtual address head, without head itself, in the order of
// next. At most limit entries are walked. An error is a *BreakError, and ends
// it.
func Circular(m Memory, head uint64, limit int) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		var buf [16]byte
		b, err := m.Peek(head, buf[:])
		if err != nil {
			yield(0, &BreakError{Head: head, At: head, Reason: "the head cannot be read", Err: err})
			return
		}
		var slack Slack
		before, prev, at := uint64(0), head, binary.LittleEndian.Uint64(b)
		for i := 0; at != head; i++ {
			if i >= limit || slack.Again(at) {
				yield(0, &BreakError{Head: head, At: at, Index: i, Reason: tooLong(i, limit)})
				return
			}
			b, err := m.Peek(at, buf[:])
			if err != nil {
				yield(0, &BreakError{Head: head, At: at, Index: i, Reason: unreadable(at), Err: err})
				return
			}
			next, back := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
			if back != prev && !slack.Allow(m, Place{head, 0, i}, at, back, before) {
				yield(0, &BreakError{Head: head, At: at, Index: i,
					Reason: fmt.Sprintf("its prev is %#x instead of %#x", back, prev)})
				return
			}
			if !yield(at, nil) {
				return
			}
			before, prev, at = prev, at, next
		}
	}
}

// Hlist yields the addresses of the struct hlist_node entries behind a struct
// hlist_head at the kernel virtual address head. At most limit entries are
// walked. An error is a *BreakError, and ends it.
func Hlist(m Memory, head uint64, limit int) iter.Seq2[uint64, error] {
	return hlist(m, head, limit, 0)
}

// HlistBL is Hlist for a struct hlist_bl_head at a kernel virtual address,
// whose lowest bit is a lock.
func HlistBL(m Memory, head uint64, limit int) iter.Seq2[uint64, error] {
	return hlist(m, head, limit, 1)
}

func hlist(m Memory, head uint64, limit int, lock uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		var buf [16]byte
		b, err := m.Peek(head, buf[:8])
		if err != nil {
			yield(0, &BreakError{Head: head, At: head, Reason: "the head cannot be read", Err: err})
			return
		}
		var slack Slack
		slot, at := head, binary.LittleEndian.Uint64(b)&^lock
		for i := 0; at != 0; i++ {
			if i >= limit || slack.Again(at) || at == head {
				yield(0, &BreakError{Head: head, At: at, Index: i, Reason: tooLong(i, limit)})
				return
			}
			b, err := m.Peek(at, buf[:])
			if err != nil {
				yield(0, &BreakError{Head: head, At: at, Index: i, Reason: unreadable(at), Err: err})
				return
			}
			next, back := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
			if back != slot && !slack.Allow(m, Place{head, lock, i}, at, back, 0) {
				yield(0, &BreakError{Head: head, At: at, Index: i,
					Reason: fmt.Sprintf("its pprev is %#x instead of %#x", back, slot)})
				return
			}
			if !yield(at, nil) {
				return
			}
			slot, at = at, next
		}
	}
}

// Slack tells a list that was caught in the middle of a change from a broken
// one. Changes to one list are serialised by a lock, so that one walk meets at
// most one; a second disagreement is a break. The zero value is ready for one
// walk.
type Slack struct{ node uint64 }

// Place is how far a walk has come: so many nodes behind a head, whose bits of
// lock are no part of the pointer.
type Place struct {
	Head  uint64
	Lock  uint64
	Index int
}

// Again tells whether the node at was let pass before: the list entered a
// circle there.
func (s *Slack) Again(at uint64) bool { return s.node != 0 && s.node == at }

// Allow tells whether the node at, whose pointer back is not the one that the
// walk came by, may nevertheless be sound. While a node is being linked in or out
// of an hlist, or linked into a list, the pointer at back leads to the node all
// the same. While the one before it is being unlinked from a list, back is
// already the one before that; before is 0 for an hlist. In each of these states
// the node at back is not reached by the pointer that it is to be reached by. Where
// it is, entries were lost, or the list leads into another. A node that the walk
// has passed is never sound: the list goes in a circle.
func (s *Slack) Allow(m Memory, p Place, at, back, before uint64) bool {
	if s.node != 0 {
		return false
	}
	s.node = at
	if before == 0 || back != before {
		to, err := follow(m, back)
		if err != nil || to&^1 != at || linked(m, back) {
			return false
		}
	}
	return !p.passed(m, at)
}

// linked tells whether the node at an address is reached by the pointer that its
// own pointer back leads to.
func linked(m Memory, node uint64) bool {
	back, err := follow(m, node+8)
	if err != nil {
		return false
	}
	to, err := follow(m, back)
	return err == nil && to&^1 == node
}

// passed walks the list from its head once more to see whether it comes by a
// node. That happens at most once a walk.
func (p Place) passed(m Memory, node uint64) bool {
	at, err := follow(m, p.Head)
	at &^= p.Lock
	for i := 0; i < p.Index && err == nil; i++ {
		if at == node {
			return true
		}
		at, err = follow(m, at)
	}
	return err != nil
}

func follow(m Memory, addr uint64) (uint64, error) {
	var buf [8]byte
	b, err := m.Peek(addr, buf[:])
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}
