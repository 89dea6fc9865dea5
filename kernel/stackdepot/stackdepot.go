// Package stackdepot reads the stacks that the kernel keeps once each and names by a
// number of 32 bits (lib/stackdepot.c): those of SLUB's records of objects since 5.18,
// of page owners, and of KASAN.
package stackdepot

import (
	"encoding/binary"
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// Depot is the kernel's depot of stacks. It is safe for use by many goroutines.
type Depot struct {
	k      *kernel.Kernel
	handle handleLayout
	record recordLayout
	pools  uint64 // address of the array of pointers to pools
	count  uint64 // how many pools there can be
}

// handleLayout is union handle_parts: which pool, where in it, and whether it is one.
// pool_index was called slabindex until 6.2; since 6.9 it is one more, so that 0 is none.
type handleLayout struct {
	kernel.Layout `kernel:"union handle_parts"`
	Index         kernel.Uint `kernel:"slabindex|pool_index|pool_index_plus_1"`
	Offset        kernel.Uint `kernel:"offset"`
	Valid         kernel.Uint `kernel:"valid,optional"`
}

type recordLayout struct {
	kernel.Layout `kernel:"struct stack_record"`
	Size          kernel.U32    `kernel:"size"`
	Handle        kernel.U32    `kernel:"handle"`
	Entries       kernel.Offset `kernel:"entries"`
}

// recordAlign is how records are aligned: 1<<STACK_ALLOC_ALIGN bytes, in all releases.
const recordAlign = 4

// maxFrames bounds a stack; the kernel keeps 64 at most (256 in some uses).
const maxFrames = 256

// Open finds the depot. The error wraps kernel.ErrNotFound for a kernel without one.
func Open(k *kernel.Kernel) (*Depot, error) {
	d := &Depot{k: k}
	for _, l := range []any{&d.handle, &d.record} {
		if err := k.Resolve(l); err != nil {
			return nil, fmt.Errorf("stack depot: %w", err)
		}
	}
	sym, ok := k.Info().Symbols().Lookup("stack_slabs")
	if !ok {
		if sym, ok = k.Info().Symbols().Lookup("stack_pools"); !ok { // since 6.3
			return nil, fmt.Errorf("stack depot: neither stack_slabs nor stack_pools: %w", kernel.ErrNotFound)
		}
	}
	d.pools, d.count = k.Runtime(sym.Addr), 1<<21
	if sym.Size == 8 { // allocated at boot since 6.15
		at, err := k.Uint64(d.pools)
		if err != nil {
			return nil, fmt.Errorf("stack depot: %w", err)
		}
		d.pools = at
	} else if sym.Size > 8 {
		d.count = sym.Size / 8
	}
	return d, nil
}

// Stack is the stack of a handle, innermost return address first; nil for 0, which
// stands for none. They are kernel virtual addresses. It fails for a handle that
// leads to no record of its own, and where that cannot be read.
func (d *Depot) Stack(handle uint32) ([]uint64, error) {
	if handle == 0 {
		return nil, nil
	}
	var parts [8]byte
	binary.LittleEndian.PutUint32(parts[:], handle)
	index, offset := d.handle.Index.Get(parts[:]), d.handle.Offset.Get(parts[:])
	if d.handle.Index.Path() == "pool_index_plus_1" {
		index--
	}
	if d.handle.Valid.Has() && d.handle.Valid.Get(parts[:]) == 0 || index >= d.count {
		return nil, fmt.Errorf("%#x is no handle of a stack in the depot", handle)
	}
	pool, err := d.k.Uint64(d.pools + 8*index)
	if err != nil {
		return nil, fmt.Errorf("stack %#x: %w", handle, err)
	}
	at := pool + offset<<recordAlign
	b, err := d.k.Peek(at, make([]byte, d.record.Span()))
	if err != nil {
		return nil, fmt.Errorf("stack %#x: %w", handle, err)
	}
	n := d.record.Size.Get(b)
	// Bits above those of the place may be the caller's.
	if d.differ(d.record.Handle.Get(b), handle) || n > maxFrames {
		return nil, fmt.Errorf("stack %#x: what lies at %#x is not its record", handle, at)
	}
	frames := make([]byte, 8*n)
	if _, err := d.k.Read(frames, at+d.record.Entries.Offset()); err != nil {
		return nil, fmt.Errorf("stack %#x: %w", handle, err)
	}
	stack := make([]uint64, n)
	for i := range stack {
		stack[i] = binary.LittleEndian.Uint64(frames[8*i:])
	}
	return stack, nil
}

// differ tells whether two handles are of different records.
func (d *Depot) differ(a, b uint32) bool {
	var x, y [8]byte
	binary.LittleEndian.PutUint32(x[:], a)
	binary.LittleEndian.PutUint32(y[:], b)
	return d.handle.Index.Get(x[:]) != d.handle.Index.Get(y[:]) || d.handle.Offset.Get(x[:]) != d.handle.Offset.Get(y[:])
}
