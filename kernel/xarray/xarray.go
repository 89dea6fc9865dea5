// Package xarray walks the kernel's struct xarray (lib/xarray.c, since 4.20).
package xarray

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel"
)

// Reader knows the layout of the kernel's xarrays.
type Reader struct {
	k    *kernel.Kernel
	head kernel.U64
	node nodeLayout
}

type arrayLayout struct {
	kernel.Layout `kernel:"struct xarray"`
	Head          kernel.U64 `kernel:"xa_head"`
}

type nodeLayout struct {
	kernel.Layout `kernel:"struct xa_node"`
	Shift         kernel.Uint  `kernel:"shift"`
	Slots         kernel.Bytes `kernel:"slots"`
}

// New resolves the layouts. They are those of struct xarray and xa_node
// (include/linux/xarray.h, since 4.20). The error wraps kernel.ErrNotFound in
// older kernels.
func New(k *kernel.Kernel) (*Reader, error) {
	r := &Reader{k: k}
	var array arrayLayout
	if err := k.Resolve(&array); err != nil {
		return nil, err
	}
	r.head = array.Head
	return r, k.Resolve(&r.node)
}

// Entry is one entry that is set.
type Entry struct {
	Index uint64
	Value uint64 // as stored: a pointer, or a value entry with its lowest bit set
}

// An entry whose two lowest bits are 10 is internal: a node where it is larger
// than 4096, otherwise a sibling, retry or zero entry (include/linux/xarray.h).
func internal(entry uint64) bool { return entry&3 == 2 }

const maxInternal = 4096

// Walk yields the entries of the xarray at a virtual address in ascending order
// of index. A part that cannot be read yields its error, and the walk goes on.
func (r *Reader) Walk(addr uint64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		head, err := r.k.Uint64(addr + r.head.Offset())
		if err != nil {
			yield(Entry{}, err)
			return
		}
		r.entry(head, 0, 64, yield)
	}
}

// entry walks what an entry at an index stands for. A node below it must
// translate fewer bits than above, so that a damaged tree cannot be endless.
func (r *Reader) entry(entry, index uint64, above uint64, yield func(Entry, error) bool) bool {
	switch {
	case entry == 0:
		return true
	case !internal(entry):
		return yield(Entry{Index: index, Value: entry}, nil)
	case entry <= maxInternal:
		return true
	}
	at := entry - 2
	b, err := r.k.Peek(at, make([]byte, r.node.Span()))
	if err != nil {
		return yield(Entry{}, fmt.Errorf("struct xa_node at %#x: %w", at, err))
	}
	shift := r.node.Shift.Get(b)
	if shift >= above {
		return yield(Entry{}, fmt.Errorf("struct xa_node at %#x: its shift %d is not below %d", at, shift, above))
	}
	slots := r.node.Slots.Get(b)
	for i := 0; i+8 <= len(slots); i += 8 {
		child := binary.LittleEndian.Uint64(slots[i:])
		if child != 0 && !r.entry(child, index+uint64(i/8)<<shift, shift, yield) {
			return false
		}
	}
	return true
}
