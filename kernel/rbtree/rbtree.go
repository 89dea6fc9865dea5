// Package rbtree walks the kernel's red-black trees: struct rb_root and struct
// rb_node (include/linux/rbtree.h), whose three words, the parent with the colour,
// right and left, have not moved in any release. Every step checks that a node names
// the one above it as its parent, so that no walk can go in a circle.
package rbtree

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// Memory is kernel virtual memory; *kernel.Kernel is one.
type Memory interface {
	Peek(virt uint64, buf []byte) ([]byte, error)
}

// BreakError says where a tree breaks. What is not below the break is found all the
// same.
type BreakError struct {
	Root   uint64 // virtual address of the struct rb_root
	Node   uint64 // virtual address of the struct rb_node that is wrong
	Reason string
	Err    error // why it cannot be read, where that is so
}

// Error implements error.
func (e *BreakError) Error() string {
	s := fmt.Sprintf("tree at %#x breaks at its node %#x: %s", e.Root, e.Node, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap makes errors.Is and errors.As work for the cause.
func (e *BreakError) Unwrap() error { return e.Err }

// maxDepth is the height of a tree of more nodes than memory can hold: a red-black
// tree is at most twice as high as a full one.
const maxDepth = 96

type walk struct {
	m     Memory
	root  uint64
	limit int
	yield func(uint64, error) bool
}

// Nodes yields the addresses of the struct rb_node entries of a tree in their order. At
// most limit nodes are walked. Of each break there is an error.
func Nodes(m Memory, root uint64, limit int) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		w := walk{m: m, root: root, limit: limit, yield: yield}
		var buf [8]byte
		b, err := m.Peek(root, buf[:])
		if err != nil {
			w.fail(root, "the root cannot be read", err)
			return
		}
		w.node(binary.LittleEndian.Uint64(b), 0, 0)
	}
}

// node walks what is below a node. It is false when the walk has to end.
func (w *walk) node(at, parent uint64, depth int) bool {
	if at == 0 {
		return true
	}
	if w.limit--; w.limit < 0 {
		w.fail(at, "it has more nodes than there can be", nil)
		return false
	}
	var buf [24]byte
	b, err := w.m.Peek(at, buf[:])
	if err != nil {
		return w.fail(at, "it cannot be read", err)
	}
	up, right, left := binary.LittleEndian.Uint64(b)&^3, binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	switch {
	case up != parent:
		return w.fail(at, fmt.Sprintf("its parent is %#x instead of %#x", up, parent), nil)
	case depth == maxDepth:
		return w.fail(at, "it is deeper than it can be", nil)
	}
	return w.node(left, at, depth+1) && w.yield(at, nil) && w.node(right, at, depth+1)
}

func (w *walk) fail(at uint64, reason string, err error) bool {
	return w.yield(0, &BreakError{Root: w.root, Node: at, Reason: reason, Err: err})
}
