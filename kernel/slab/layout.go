package slab

import (
	"fmt"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
)

// All differences between releases that the types tell are here.

// cacheLayout is struct kmem_cache (include/linux/slub_def.h, slab_def.h; mm/slab.h
// since 6.8). SLUB has oo, SLAB num and gfporder. SLUB's objsize became object_size
// in 3.6, SLAB's buffer_size and obj_size size and object_size in 3.6.
type cacheLayout struct {
	kernel.Layout `kernel:"struct kmem_cache"`
	Name          kernel.U64    `kernel:"name"`
	Link          kernel.Offset `kernel:"list|next"`
	Size          kernel.Uint   `kernel:"size|buffer_size"`
	ObjectSize    kernel.Uint   `kernel:"object_size|objsize|obj_size,optional"`
	Flags         kernel.Uint   `kernel:"flags"`
	Ctor          kernel.U64    `kernel:"ctor,optional"`
	Align         kernel.Uint   `kernel:"align,optional"`
	Refcount      kernel.I32    `kernel:"refcount,optional"`

	OO       kernel.Uint   `kernel:"oo.x,optional"`
	FreeAt   kernel.Uint   `kernel:"offset,optional"`
	InUse    kernel.Uint   `kernel:"inuse,optional"`
	LeftPad  kernel.Uint   `kernel:"red_left_pad,optional"`   // since 4.6
	Random   kernel.Uint   `kernel:"random,optional"`         // CONFIG_SLAB_FREELIST_HARDENED, since 4.14
	CPU      kernel.U64    `kernel:"cpu_slab,optional"`       // per CPU since 2.6.33; gone in 7.x
	CPUs     kernel.Offset `kernel:"cpu_slab[0],optional"`    // an array of pointers until then
	Sheaves  kernel.U64    `kernel:"cpu_sheaves,optional"`    // since 6.18
	Capacity kernel.Uint   `kernel:"sheaf_capacity,optional"` // since 6.18
	Node     kernel.Offset `kernel:"node,optional"`
	PerNode  kernel.Offset `kernel:"per_node,optional"` // 7.x: pairs of barn and node

	Num      kernel.Uint   `kernel:"num,optional"` // SLAB from here
	Order    kernel.Uint   `kernel:"gfporder,optional"`
	SlabSize kernel.Uint   `kernel:"slab_size|freelist_size,optional"`
	Array    kernel.Offset `kernel:"array,optional"`     // until 3.18: an array of pointers
	Arrays   kernel.U64    `kernel:"cpu_cache,optional"` // since 3.19, per CPU
	Lists    kernel.Offset `kernel:"nodelists,optional"` // 2.6.32 an array, a pointer to one in 3.2 to 3.15
	Outside  kernel.Offset `kernel:"slabp_cache|freelist_cache,optional"`
}

// slabLayout is what describes a slab: struct slab since 5.17, struct page before.
// With SLAB a page says whose it is in its lru until 3.6.
type slabLayout struct {
	kernel.Layout `kernel:"struct page"`
	Cache         kernel.U64    `kernel:"slab_cache|slab|lru.next"`
	LRU           kernel.U64    `kernel:"lru.next"`
	Freelist      kernel.U64    `kernel:"freelist,optional"`
	InUse         kernel.Uint   `kernel:"inuse,optional"`
	Objects       kernel.Uint   `kernel:"objects,optional"`
	Frozen        kernel.Uint   `kernel:"frozen,optional"` // since 3.2
	Link          kernel.Offset `kernel:"slab_list|lru"`
	Next          kernel.U64    `kernel:"next,optional"` // of a CPU's partly used slabs, since 3.2
	Mem           kernel.U64    `kernel:"s_mem,optional"`
	Active        kernel.Uint   `kernel:"active,optional"`
	Descriptor    kernel.U64    `kernel:"slab_page|lru.prev,optional"`     // SLAB's struct slab until 3.12
	Charges       kernel.U64    `kernel:"memcg_data|obj_cgroups,optional"` // obj_cgroups in 5.9 and 5.10; see Charges
	Stride        kernel.Uint   `kernel:"-,optional"`
}

type slabLayoutNew struct {
	kernel.Layout `kernel:"struct slab"`
	Cache         kernel.U64    `kernel:"slab_cache"`
	LRU           kernel.U64    `kernel:"-,optional"`
	Freelist      kernel.U64    `kernel:"freelist,optional"`
	InUse         kernel.Uint   `kernel:"inuse,optional"`
	Objects       kernel.Uint   `kernel:"objects,optional"`
	Frozen        kernel.Uint   `kernel:"frozen,optional"`
	Link          kernel.Offset `kernel:"slab_list"`
	Next          kernel.U64    `kernel:"next,optional"`
	Mem           kernel.U64    `kernel:"s_mem,optional"`
	Active        kernel.Uint   `kernel:"active,optional"`
	Descriptor    kernel.U64    `kernel:"-,optional"`
	Charges       kernel.U64    `kernel:"obj_exts|memcg_data,optional"` // obj_exts since 6.10
	Stride        kernel.Uint   `kernel:"stride,optional"`              // 7.x
}

// nodeLayout is struct kmem_cache_node; SLAB's was called kmem_list3 until 3.10.
type nodeLayout struct {
	kernel.Layout `kernel:"struct kmem_cache_node"`
	NrPartial     kernel.U64    `kernel:"nr_partial,optional"`
	Partial       kernel.Offset `kernel:"partial|slabs_partial"`
	Slabs         kernel.U64    `kernel:"nr_slabs.counter,optional"` // CONFIG_SLUB_DEBUG
	Objects       kernel.U64    `kernel:"total_objects.counter,optional"`
	Barn          kernel.U64    `kernel:"barn,optional"` // 6.18
	Full          kernel.Offset `kernel:"slabs_full,optional"`
	Free          kernel.Offset `kernel:"slabs_free,optional"`
	FreeObjects   kernel.U64    `kernel:"free_objects,optional"`
	Shared        kernel.U64    `kernel:"shared,optional"`
	Alien         kernel.U64    `kernel:"alien,optional"`
}

type nodeLayoutOld struct {
	kernel.Layout `kernel:"struct kmem_list3"`
	NrPartial     kernel.U64    `kernel:"nr_partial,optional"`
	Partial       kernel.Offset `kernel:"slabs_partial"`
	Slabs         kernel.U64    `kernel:"nr_slabs.counter,optional"`
	Objects       kernel.U64    `kernel:"total_objects.counter,optional"`
	Barn          kernel.U64    `kernel:"barn,optional"`
	Full          kernel.Offset `kernel:"slabs_full,optional"`
	Free          kernel.Offset `kernel:"slabs_free,optional"`
	FreeObjects   kernel.U64    `kernel:"free_objects,optional"`
	Shared        kernel.U64    `kernel:"shared,optional"`
	Alien         kernel.U64    `kernel:"alien,optional"`
}

// cpuLayout is struct kmem_cache_cpu.
type cpuLayout struct {
	kernel.Layout `kernel:"struct kmem_cache_cpu"`
	Freelist      kernel.U64 `kernel:"freelist"`
	Slab          kernel.U64 `kernel:"slab|page"` // page until 5.16
	Partial       kernel.U64 `kernel:"partial,optional"`
}

// sheafLayouts are those of the arrays of free objects since 6.18.
type sheafLayouts struct {
	cpu  sheavesLayout
	one  sheafLayout
	barn barnLayout
}

type sheavesLayout struct {
	kernel.Layout `kernel:"struct slub_percpu_sheaves"`
	Main          kernel.U64 `kernel:"main"`
	Spare         kernel.U64 `kernel:"spare"`
	RCUFree       kernel.U64 `kernel:"rcu_free,optional"`
}

type sheafLayout struct {
	kernel.Layout `kernel:"struct slab_sheaf"`
	Link          kernel.Offset `kernel:"barn_list"`
	Cache         kernel.U64    `kernel:"cache"`
	Size          kernel.U32    `kernel:"size"`
	Objects       kernel.Offset `kernel:"objects"`
}

type barnLayout struct {
	kernel.Layout `kernel:"struct node_barn"`
	Full          kernel.Offset `kernel:"sheaves_full"`
	NrFull        kernel.U32    `kernel:"nr_full"`
}

// slabOldLayouts are those of SLAB.
type slabOldLayouts struct {
	desc       descLayout
	hasDesc    bool // there is a struct slab apart from struct page: until 3.12
	entry      int  // bytes of an entry of the list of free objects
	array      arrayLayout
	alienArray uint64 // where in struct alien_cache the array_cache is
	listsPtr   bool   // nodelists is a pointer
}

type descLayout struct {
	kernel.Layout `kernel:"struct slab"`
	Link          kernel.Offset `kernel:"list"`
	Colour        kernel.U64    `kernel:"colouroff"` // from the slab's start to s_mem
	Mem           kernel.U64    `kernel:"s_mem"`
	InUse         kernel.U32    `kernel:"inuse"`
	Free          kernel.U32    `kernel:"free"`
}

type arrayLayout struct {
	kernel.Layout `kernel:"struct array_cache"`
	Avail         kernel.U32    `kernel:"avail"`
	Limit         kernel.U32    `kernel:"limit"`
	Entry         kernel.Offset `kernel:"entry"`
}

// resolve looks up all layouts and tells the allocators apart.
func (s *Allocations) resolve() error {
	switch {
	case s.k.HasField("struct kmem_cache", "oo"):
		s.kind = SLUB
	case s.k.HasField("struct kmem_cache", "gfporder"):
		s.kind = SLAB
	default:
		s.kind = SLOB
		return ErrSLOB
	}
	list := []any{&s.cache}
	if !s.k.HasField("struct slab", "slab_cache") {
		list = append(list, &s.slab)
	} else {
		var l slabLayoutNew
		if err := s.k.Resolve(&l); err != nil {
			return err
		}
		s.slab = slabLayout(l)
	}
	if s.kind == SLAB {
		if err := s.resolveSLAB(list); err != nil {
			return err
		}
		if s.slab.Cache.Path() != "slab_cache" { // until 3.6
			s.slab.Cache = s.slab.LRU
		}
		return nil
	}
	list = append(list, &s.node)
	if s.k.HasType("struct kmem_cache_cpu") {
		list = append(list, &s.cpu)
	}
	if s.k.HasType("struct slub_percpu_sheaves") {
		list = append(list, &s.sheaf.cpu, &s.sheaf.one, &s.sheaf.barn)
	}
	if err := s.resolveAll(list); err != nil {
		return err
	}
	if !s.slab.Freelist.Has() || !s.slab.InUse.Has() || !s.slab.Objects.Has() || !s.cache.FreeAt.Has() {
		return fmt.Errorf("%w: the members of struct page that describe a slab", kernel.ErrNotFound)
	}
	return nil
}

func (s *Allocations) resolveAll(list []any) error {
	for _, l := range list {
		if err := s.k.Resolve(l); err != nil {
			return err
		}
	}
	return nil
}

func (s *Allocations) resolveSLAB(list []any) error {
	if s.k.HasType("struct kmem_list3") {
		var l nodeLayoutOld
		if err := s.k.Resolve(&l); err != nil {
			return err
		}
		s.node = nodeLayout(l)
	} else {
		list = append(list, &s.node)
	}
	o := &s.old
	if o.hasDesc = s.k.HasField("struct slab", "inuse") && !s.k.HasField("struct slab", "slab_cache"); o.hasDesc {
		list = append(list, &o.desc)
	}
	if err := s.resolveAll(append(list, &o.array)); err != nil {
		return err
	}
	if t, err := s.k.Type("struct alien_cache"); err == nil { // since 3.17
		if f, err := t.Field("ac"); err == nil {
			o.alienArray = uint64(f.Offset)
		}
	}
	o.entry = 4 // kmem_bufctl_t, an unsigned int
	for _, name := range []string{"kmem_bufctl_t", "freelist_idx_t"} {
		if t, err := s.k.Type(name); err == nil {
			o.entry = int(t.Size())
		}
	}
	if o.entry != 1 && o.entry != 2 && o.entry != 4 {
		return fmt.Errorf("an entry of a slab's list of free objects has %d bytes", o.entry)
	}
	if t, err := s.k.Type("struct kmem_cache"); err == nil {
		if f, err := t.Field("nodelists"); err == nil {
			o.listsPtr = f.Type.Strip().Kind == ctype.Pointer
		}
	}
	return nil
}
