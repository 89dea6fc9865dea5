package slab

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// trackLayout is struct track (mm/slub.c). Its stack is an array of addresses from 3.2
// to 5.17 (CONFIG_STACKTRACE), and a handle of the stack depot since 5.18
// (CONFIG_STACKDEPOT).
type trackLayout struct {
	kernel.Layout `kernel:"struct track"`
	Addr          kernel.U64   `kernel:"addr"`
	Addrs         kernel.Bytes `kernel:"addrs,optional"`
	Handle        kernel.U32   `kernel:"handle,optional"`
	CPU           kernel.I32   `kernel:"cpu"`
	PID           kernel.I32   `kernel:"pid"`
	When          kernel.U64   `kernel:"when"`
}

// ErrNoTracks: the kernel keeps no records of who took and freed the cache's objects.
var ErrNoTracks = errors.New("the cache keeps no records of who took and freed its objects; the kernel does with slub_debug=U")

// Track is SLUB's record of who took an object, or who freed it (struct track,
// mm/slub.c). Addresses are kernel virtual ones.
type Track struct {
	Addr   uint64 // of the code that asked; 0 where there is no record
	Handle uint32 // of the stack in the stack depot; 0 where there is none
	CPU    int32
	PID    int32
	When   uint64 // jiffies
}

// Tracker reads the records of a cache's objects.
type Tracker struct {
	l      trackLayout
	offset int // where in an object's memory the first record is
}

// Tracks finds where a cache keeps its records: behind the objects and the pointer to
// the next free one, if that is there too. The error wraps ErrNoTracks.
func (c *Cache) Tracks() (*Tracker, error) {
	if c.s.kind != SLUB || !c.Has(FlagStoreUser) {
		return nil, fmt.Errorf("cache %s: %w", c.Name, ErrNoTracks)
	}
	t := &Tracker{offset: c.InUse}
	if err := c.s.k.Resolve(&t.l); err != nil {
		return nil, fmt.Errorf("cache %s: %w", c.Name, err)
	}
	if c.freeAt >= c.InUse {
		t.offset += 8
	}
	if t.offset < 0 || t.offset+2*t.l.Size() > c.Size {
		return nil, fmt.Errorf("cache %s: its objects of %d bytes have no room for two records at %d: %w", c.Name, c.Size, t.offset, ErrDamaged)
	}
	return t, nil
}

// Alloc is the record of who took an object; object is its memory, of Cache.Size bytes.
func (t *Tracker) Alloc(object []byte) Track { return t.read(object[t.offset:]) }

// Free is the record of who freed it last.
func (t *Tracker) Free(object []byte) Track { return t.read(object[t.offset+t.l.Size():]) }

func (t *Tracker) read(b []byte) Track {
	out := Track{Addr: t.l.Addr.Get(b), CPU: t.l.CPU.Get(b), PID: t.l.PID.Get(b), When: t.l.When.Get(b)}
	if t.l.Handle.Has() {
		out.Handle = t.l.Handle.Get(b)
	}
	return out
}

// AllocStack is the stack of who took an object, where the record itself has it (3.2 to
// 5.17).
func (t *Tracker) AllocStack(object []byte) []uint64 { return t.stack(object[t.offset:]) }

// FreeStack is that of who freed it.
func (t *Tracker) FreeStack(object []byte) []uint64 { return t.stack(object[t.offset+t.l.Size():]) }

func (t *Tracker) stack(b []byte) []uint64 {
	if !t.l.Addrs.Has() {
		return nil
	}
	var list []uint64
	for raw := t.l.Addrs.Get(b); len(raw) >= 8; raw = raw[8:] {
		addr := binary.LittleEndian.Uint64(raw)
		if addr == 0 || addr == ^uint64(0) {
			break
		}
		list = append(list, addr)
	}
	return list
}
