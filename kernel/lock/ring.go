package lock

import (
	"errors"
	"fmt"
	"slices"
)

// maxWaiters bounds the entries of one list: there are no more tasks.
const maxWaiters = 4 << 20

// ring is a list of waiters, as it was found from one of them.
type ring struct {
	head   uint64   // virtual address of the list's head; 0 where none was met
	nodes  []uint64 // from the next to be served
	broken error    // why it cannot be followed all the way
	closed bool     // it came back to where it began
	lock   uint64   // for rings without a head: the lock that was found to point to it
	kind   Kind     // of lock
	// heads are all places of a list that breaks which are no known waiters: the head,
	// and waiters of tasks that are not known.
	heads []uint64
}

// nodeKey tells apart what the words at an address may be.
type nodeKey struct {
	addr  uint64
	shape shape
}

type nodeAt struct {
	ring *ring
	pos  int
}

// shape is how the entries of a ring are told from its head.
type shape struct {
	entry bool  // wait_queue_entry: its function lies in the text
	delta int64 // of the pointer to the task, or to the function, from the list_head
}

// member tells whether a list_head belongs to a waiter, and not to a lock.
func (b *builder) member(node uint64, sh shape) bool {
	v, ok := b.uint64At(node + uint64(sh.delta))
	if !ok {
		return false
	}
	if sh.entry {
		return b.tracer.IsText(v)
	}
	tk := b.liveTask(v)
	return tk != nil && tk.Stack != 0 && node >= tk.Stack && node-tk.Stack < b.tracer.StackSize()
}

var errRing = errors.New("the list of waiters breaks")

// ringOf follows the list that a waiter's node is on. It is nil where the node is
// on none.
func (b *builder) ringOf(node uint64, sh shape) (*ring, int) {
	if at, ok := b.nodes[nodeKey{node, sh}]; ok {
		return at.ring, at.pos
	}
	r := b.follow(node, sh)
	if r == nil {
		return nil, -1
	}
	for i, n := range r.nodes {
		b.nodes[nodeKey{n, sh}] = nodeAt{r, i}
	}
	return r, b.nodes[nodeKey{node, sh}].pos
}

// follow walks forwards until it is back, and backwards from where it began if it
// does not get there.
func (b *builder) follow(node uint64, sh shape) *ring {
	next, ok1 := b.uint64At(node)
	prev, ok2 := b.uint64At(node + 8)
	if !ok1 || !ok2 || !inKernel(next) || !inKernel(prev) || next == node && sh.entry {
		return nil
	}
	r := &ring{}
	after, last, err := b.forwards(r, node, next, sh)
	if err == nil {
		r.closed = true
		r.nodes = after
		return r
	}
	if len(after) == 1 && r.head == 0 {
		if back, ok := b.uint64At(prev); !ok || back != node {
			return nil // neither neighbour knows it: what is left of an old one
		}
	}
	r.broken = err
	r.heads = append(r.heads, r.head)
	first := b.backwards(r, node, prev, sh, after)
	if r.head == 0 && first == last && inKernel(first) {
		// Both ends lead to the same place, which is the head even if it cannot be
		// read.
		r.head = first
	}
	return r
}

// forwards collects the nodes from one on, with those behind the head first. With an
// error comes the address at which the list breaks.
func (b *builder) forwards(r *ring, node, next uint64, sh shape) ([]uint64, uint64, error) {
	nodes := []uint64{node}
	split := 0 // how many come before the head was met
	from := node
	for at := next; at != node; {
		back, ok := b.uint64At(at + 8)
		if !ok || back != from {
			return order(nodes, split), at, fmt.Errorf("%w behind %#x: %#x does not lead back", errRing, from, at)
		}
		switch {
		case b.member(at, sh):
			nodes = append(nodes, at)
		case r.head != 0:
			r.heads = append(r.heads, at)
			return order(nodes, split), at, fmt.Errorf("%w at %#x: it is neither a waiter nor the head", errRing, at)
		default:
			r.head, split = at, len(nodes)
		}
		if len(nodes) > maxWaiters {
			return order(nodes, split), at, fmt.Errorf("%w: it has more entries than there can be", errRing)
		}
		var readable bool
		from = at
		if at, readable = b.uint64At(at); !readable || !inKernel(at) {
			return order(nodes, split), at, fmt.Errorf("%w behind %#x: what follows cannot be read", errRing, from)
		}
	}
	return order(nodes, split), 0, nil
}

// order puts the nodes that follow the head first.
func order(nodes []uint64, split int) []uint64 {
	if split == 0 || split == len(nodes) {
		return nodes
	}
	return append(append(make([]uint64, 0, len(nodes)), nodes[split:]...), nodes[:split]...)
}

// backwards goes on from the first node towards the head, or to a break on that
// side, of which it returns the address.
func (b *builder) backwards(r *ring, node, prev uint64, sh shape, after []uint64) (at uint64) {
	known := len(after)
	var before []uint64
	from := node
	for at = prev; at != node && len(before) < maxWaiters; {
		next, ok := b.uint64At(at)
		if !ok || next != from || !inKernel(at) {
			break
		}
		if !b.member(at, sh) {
			if r.head == 0 {
				r.head = at
			}
			r.heads = append(r.heads, at)
			break
		}
		before = append(before, at)
		from = at
		if at, ok = b.uint64At(at + 8); !ok {
			break
		}
	}
	r.nodes = make([]uint64, 0, known+len(before))
	for i := len(before) - 1; i >= 0; i-- {
		r.nodes = append(r.nodes, before[i])
	}
	r.nodes = append(r.nodes, after...)
	return at
}

// settle chooses among the places that may be the head of a list that breaks: the one that
// is in the lock which the locking function at a frame was called with, or otherwise one
// that lies in a variable. It is false where neither tells, and the head may as well be
// the waiter of a task that is not known.
func (b *builder) settle(s *stack, r *ring, frame int, typ string, list uint64) bool {
	arg, known := b.lockArgument(s.tk, frame, typ)
	for _, head := range r.heads {
		if known && head != 0 && head == arg+list {
			r.head = head
			return true
		}
	}
	for _, head := range r.heads {
		if _, variable := b.k.LookupName(head); head != 0 && variable {
			r.head = head
			return true
		}
	}
	return b.whole && len(r.heads) <= 2 && !slices.ContainsFunc(r.heads, func(h uint64) bool { return h != 0 && h != r.head })
}
