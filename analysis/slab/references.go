package slab

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/slab"
	"github.com/kmortem/mortem/kernel/variable"
)

// references are the pointers to some caches.
type references struct {
	s         *slab.Allocations
	wanted    map[uint64]bool
	low, high uint64 // of the wanted addresses
	found     map[uint64][]Reference
	places    map[place]int     // index into found
	known     map[string]string // cache to the type that is in it
}

// place is where pointers in objects are.
type place struct {
	to, cache uint64
	offset    int
}

func newReferences(s *slab.Allocations, wanted map[uint64]bool) *references {
	r := &references{s: s, wanted: wanted, low: ^uint64(0), found: make(map[uint64][]Reference), places: make(map[place]int),
		known: knownTypes(s)}
	for addr := range wanted {
		r.low, r.high = min(r.low, addr), max(r.high, addr)
	}
	return r
}

// of are the references to a cache: those of variables first.
func (r *references) of(c *slab.Cache) []Reference {
	list := r.found[c.Addr]
	slices.SortStableFunc(list, func(a, b Reference) int {
		return cmp.Or(cmp.Compare(len(a.Object), 0)-cmp.Compare(len(b.Object), 0), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Addr, b.Addr))
	})
	return list
}

// maxReferences bounds how many are kept of one cache.
const maxReferences = 200

// each calls f for each pointer to a wanted cache in some memory at a virtual address.
func (r *references) each(mem []byte, at uint64, f func(at, to uint64)) {
	for i := 0; i+8 <= len(mem); i += 8 {
		if v := binary.LittleEndian.Uint64(mem[i:]); v >= r.low && v <= r.high && r.wanted[v] {
			f(at+uint64(i), v)
		}
	}
}

// scanData looks through the variables of the kernel and of its modules.
func (r *references) scanData() {
	variable.Scan(r.s.Kernel(), func(mem []byte, at uint64) { r.each(mem, at, r.addSymbol) })
}

func (r *references) addSymbol(at, to uint64) {
	if len(r.found[to]) < maxReferences {
		r.found[to] = append(r.found[to], Reference{Symbol: variable.Name(r.s.Kernel(), at), Addr: kernel.Addr(at), Count: 1})
	}
}

// scanObjects looks through the live objects of all slabs.
func (r *references) scanObjects(ctx context.Context, cover *kernel.Coverage) error {
	spans := r.s.Pages().Spans()
	d := r.s.NewDecoder()
	var buf []byte
	n := 0
	for sl, err := range r.s.Walk(0, spans[len(spans)-1].End) {
		if n++; n&0xff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			continue // the sweep before has told
		}
		if cap(buf) < sl.Bytes() {
			buf = make([]byte, sl.Bytes())
		}
		got, err := r.s.Kernel().Read(buf[:sl.Bytes()], sl.Start)
		if err != nil {
			cover.Fail(fmt.Errorf("slab at %#x of cache %s: %w", sl.Start, sl.Cache.Name, err))
		}
		loaded := false
		r.each(buf[:got], sl.Start, func(at, to uint64) {
			if !loaded {
				_ = d.Load(&sl, buf[:got]) // damage was told, and what is not free is taken for live
				loaded = true
			}
			if i, off, ok := sl.Index(at); ok && !d.IsFree(i) {
				r.addObject(&sl, off, at, to)
			}
		})
	}
	return nil
}

func (r *references) addObject(sl *slab.Slab, off int, at, to uint64) {
	key := place{to, sl.Cache.Addr, off}
	if i, ok := r.places[key]; ok {
		r.found[to][i].Count++
		return
	}
	if len(r.found[to]) >= maxReferences {
		return
	}
	r.places[key] = len(r.found[to])
	r.found[to] = append(r.found[to], Reference{Object: r.member(sl.Cache, off), Addr: kernel.Addr(at), Count: 1})
}

// member names the place in an object, with the member where the type in the cache is
// known by the cache's name.
func (r *references) member(c *slab.Cache, off int) string {
	name := fmt.Sprintf("%s+%#x", c.Name, off)
	t, err := r.s.Kernel().Type(r.known[c.Name])
	if err != nil || c.Refcount > 1 {
		return name
	}
	if path, _, rest := t.PathAt(int64(off)); path != "" && rest == 0 {
		name += " (" + r.known[c.Name] + " " + path + ")"
	}
	return name
}
