package slab

import (
	"context"
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/slab"
)

// ObjectList are the objects of one cache.
type ObjectList struct {
	Cache   string      `json:"cache"`
	Addr    kernel.Addr `json:"addr"` // of the struct kmem_cache
	Size    int         `json:"object_size"`
	Objects []Object    `json:"objects"` // in the order of physical memory
	// More tells that there are more than were asked for.
	More     bool            `json:"more,omitempty"`
	Coverage kernel.Coverage `json:"coverage"`
}

// Object is one object of a cache.
type Object struct {
	Addr  kernel.Addr `json:"addr"`
	Slab  kernel.Addr `json:"slab"` // the first byte of its slab
	Index int         `json:"index"`
	Free  bool        `json:"free,omitempty"`
}

// ObjectOptions choose objects.
type ObjectOptions struct {
	Free  bool // the free objects instead of the live ones
	Limit int  // no more than so many; all where 0 or negative
}

// ListObjects lists the objects of a cache. Of slabs whose list of free objects is
// damaged those that cannot be told free are taken for live; the coverage tells them.
// The error is that of ctx.
func ListObjects(ctx context.Context, s *slab.Allocations, c *slab.Cache, opt ObjectOptions) (*ObjectList, error) {
	r := &ObjectList{Cache: c.Name, Addr: kernel.Addr(c.Addr), Size: c.ObjectSize, Objects: []Object{},
		Coverage: s.Kernel().NewCoverage()}
	err := eachSlab(ctx, s, c, &r.Coverage, func(sl *slab.Slab, d *slab.Decoder, _ []byte) bool {
		for i := range sl.Objects {
			if d.IsFree(i) != opt.Free {
				continue
			}
			if opt.Limit > 0 && len(r.Objects) == opt.Limit {
				r.More = true
				return false
			}
			r.Objects = append(r.Objects, Object{Addr: kernel.Addr(sl.Object(i)), Slab: kernel.Addr(sl.Start), Index: i, Free: opt.Free})
		}
		return true
	})
	return r, err
}

// eachSlab calls f with each slab of a cache, in the order of physical memory, after the
// slab's free objects were found, and with its memory, which ends early where it cannot
// be read. It ends where f returns false.
func eachSlab(ctx context.Context, s *slab.Allocations, c *slab.Cache, cover *kernel.Coverage, f func(sl *slab.Slab, d *slab.Decoder, mem []byte) bool) error {
	spans := s.Pages().Spans()
	d := s.NewDecoder()
	var buf []byte
	n := 0
	for sl, err := range s.Walk(0, spans[len(spans)-1].End) {
		if n++; n&0xff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if sl.Cache != c {
			if sl.Cache == nil && err != nil {
				cover.Fail(err)
			}
			continue
		}
		if err != nil {
			cover.Fail(err)
			continue
		}
		if cap(buf) < sl.Bytes() {
			buf = make([]byte, sl.Bytes())
		}
		got, err := s.Kernel().Read(buf[:sl.Bytes()], sl.Start)
		if err != nil {
			err = fmt.Errorf("slab at %#x of cache %s: %w", sl.Start, c.Name, err)
		}
		if loadErr := d.Load(&sl, buf[:got]); err == nil {
			err = loadErr
		}
		if err != nil {
			cover.Fail(err)
		} else {
			cover.Read++
		}
		if !f(&sl, d, buf[:got]) {
			break
		}
	}
	return nil
}
