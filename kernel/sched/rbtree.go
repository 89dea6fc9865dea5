package sched

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// nodeLayout is struct rb_node (include/linux/rbtree.h). The parent's address has
// the node's colour in its lowest bits.
type nodeLayout struct {
	kernel.Layout `kernel:"struct rb_node"`
	Parent        kernel.U64 `kernel:"__rb_parent_color|rb_parent_color"`
	Right         kernel.U64 `kernel:"rb_right"`
	Left          kernel.U64 `kernel:"rb_left"`
}

// maxTreeDepth bounds the height of a tree: twice the logarithm of more nodes than
// there can be tasks.
const maxTreeDepth = 64

// TreeError says where a red-black tree breaks. What was found besides is sound.
type TreeError struct {
	Root   uint64 // virtual address of the root pointer
	Node   uint64 // virtual address of the struct rb_node that is wrong
	Reason string
	Err    error
}

// Error implements error.
func (e *TreeError) Error() string {
	s := fmt.Sprintf("tree at %#x breaks at its node %#x: %s", e.Root, e.Node, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap makes errors.Is and errors.As work for the cause.
func (e *TreeError) Unwrap() error { return e.Err }

// tree calls f with the addresses of a tree's nodes in their order. It returns the
// first place where the tree breaks, and walks the rest all the same.
func (r *Reader) tree(root uint64, f func(node uint64)) error {
	first, err := r.k.Uint64(root)
	if err != nil {
		return err
	}
	w := treeWalk{r: r, root: root, f: f}
	w.node(first, 0, 0)
	return w.err
}

type treeWalk struct {
	r     *Reader
	root  uint64
	f     func(node uint64)
	count int
	err   error
}

// node walks what is below a node. That each node names the one above it as its
// parent makes walking in a circle impossible, save up to the bound of the depth; a
// node whose children are one and the same would still double the work at each level,
// hence the count.
func (w *treeWalk) node(at, parent uint64, depth int) {
	if at == 0 || w.count > maxQueued {
		return
	}
	w.count++
	b, err := w.r.k.Peek(at, make([]byte, w.r.node.Size()))
	switch l := &w.r.node; {
	case err != nil:
		w.fail(at, "it cannot be read", err)
		return
	case w.count > maxQueued:
		w.fail(at, "the tree has more nodes than there can be", nil)
		return
	case depth == maxTreeDepth:
		w.fail(at, "the tree is deeper than it can be", nil)
		return
	case l.Parent.Get(b)&^3 != parent:
		w.fail(at, fmt.Sprintf("its parent is %#x instead of %#x", l.Parent.Get(b)&^3, parent), nil)
		return
	}
	left, right := w.r.node.Left.Get(b), w.r.node.Right.Get(b)
	w.node(left, at, depth+1)
	w.f(at)
	w.node(right, at, depth+1)
}

func (w *treeWalk) fail(at uint64, reason string, err error) {
	if w.err == nil {
		w.err = &TreeError{Root: w.root, Node: at, Reason: reason, Err: err}
	}
}
