// Package slab answers what fills the slab allocator: every cache with its objects,
// slabs and memory, where they are, what other caches share it, and what leads to it.
package slab

import (
	"github.com/kmortem/mortem/analysis/finding"
	"github.com/kmortem/mortem/kernel"
)

// Report is the answer. Counts are lower bounds where Coverage is not complete.
type Report struct {
	Allocator string  `json:"allocator"` // SLUB or SLAB
	Caches    []Cache `json:"caches"`
	// Of all caches, whichever are listed:
	CachesAll int    `json:"caches_all"`
	Live      uint64 `json:"live"`    // objects in use
	Objects   uint64 `json:"objects"` // objects that there is room for
	Slabs     uint64 `json:"slabs"`
	Pages     uint64 `json:"pages"`
	Bytes     uint64 `json:"bytes"`
	// Memory is how much the page allocator has in all, in bytes; 0 where that is not
	// known.
	Memory uint64 `json:"memory"`
	// Orphans are slabs that lead to no known cache.
	Orphans uint64 `json:"orphan_slabs"`
	// Verified: every list of free objects was followed, and Live counts what is in
	// none. Otherwise it comes from the slabs' counters.
	Verified bool              `json:"verified"`
	Findings []finding.Finding `json:"findings"`
	Coverage kernel.Coverage   `json:"coverage"`
}

// Cache is one slab cache.
type Cache struct {
	Addr       kernel.Addr `json:"addr"` // of the struct kmem_cache
	Name       string      `json:"name"`
	Aliases    []string    `json:"aliases,omitempty"` // names of caches that were merged into it
	Users      int         `json:"users"`             // how many caches it stands for, by its refcount
	ObjectSize int         `json:"object_size"`       // bytes that were asked for
	Size       int         `json:"size"`              // bytes that an object takes
	PerSlab    int         `json:"objects_per_slab"`
	Order      int         `json:"order"` // a slab has 1<<order pages
	Flags      []string    `json:"flags,omitempty"`
	Ctor       string      `json:"ctor,omitempty"`

	Live    uint64 `json:"live"`    // objects in use
	Objects uint64 `json:"objects"` // objects that its slabs have room for
	Slabs   uint64 `json:"slabs"`
	Pages   uint64 `json:"pages"`
	Bytes   uint64 `json:"bytes"`
	// Kept are free objects that processors and nodes keep for themselves; they are
	// not among the live ones.
	Kept    uint64 `json:"kept"`
	Damaged uint64 `json:"damaged_slabs,omitempty"`

	Nodes      []Node      `json:"nodes,omitempty"`
	CPUs       []CPU       `json:"cpus,omitempty"`
	References []Reference `json:"references,omitempty"`
}

// Node is what a cache has on one NUMA node.
type Node struct {
	Node    int    `json:"node"`
	Slabs   uint64 `json:"slabs"`
	Partial uint64 `json:"slabs_partial"` // that have free objects
	Objects uint64 `json:"objects"`
	InUse   uint64 `json:"in_use"` // by the slabs' counters: objects that processors keep count
}

// CPU is what one processor keeps of a cache.
type CPU struct {
	CPU     int         `json:"cpu"`
	Slab    kernel.Addr `json:"slab,omitempty"` // struct page of the slab it allocates from
	Free    uint64      `json:"free"`           // free objects it keeps, of that slab or in its sheaves or array
	Partial int         `json:"slabs_partial"`  // partly used slabs that it keeps besides
}

// Reference is something that points to a struct kmem_cache.
type Reference struct {
	Symbol string      `json:"symbol,omitempty"` // the variable, with the member that points there
	Object string      `json:"object,omitempty"` // or the cache of the objects, and where in them the pointer is
	Addr   kernel.Addr `json:"addr"`             // of the pointer, the first one's of several
	Count  uint64      `json:"count"`
}

// Options choose what is done.
type Options struct {
	// Caches are names, aliases among them, or addresses of the caches to list; all
	// where there are none.
	Caches []string
	// Verify follows the list of free objects of every slab. That reads all slabs.
	Verify bool
	// References looks through the objects of all slabs for pointers to the listed
	// caches, besides the kernel's and the modules' own data.
	References bool
	Sort       string // one of Sorts; memory where empty
	Top        int    // list no more than so many caches; all where 0 or negative
	// Progress is told how many of how many page frames are done.
	Progress func(done, total uint64)
}
