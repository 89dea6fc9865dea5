// Package slab reads the kernel's slab allocator: its caches, their slabs, and
// which objects of a slab are in use. It knows SLUB (mm/slub.c) and SLAB
// (mm/slab.c, until 6.7) in all their forms; SLOB (until 6.3) has no caches that
// could be told apart.
package slab

import (
	"errors"
	"fmt"
	"sync"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/page"
)

// Allocator is which of the kernel's slab allocators it is.
type Allocator string

// The slab allocators.
const (
	SLUB Allocator = "SLUB"
	SLAB Allocator = "SLAB"
	SLOB Allocator = "SLOB"
)

// ErrSLOB: the kernel uses SLOB, which keeps objects of all caches together and
// says of none whose it is.
var ErrSLOB = errors.New("the kernel uses the SLOB allocator, which has no slabs of a cache and cannot be taken apart")

// ErrNoCache: no slab cache has that name or address.
var ErrNoCache = errors.New("there is no such slab cache")

// Allocations is the slab allocator of the kernel in a dump. It is safe for use
// by many goroutines.
type Allocations struct {
	k      *kernel.Kernel
	pages  *page.Map
	kind   Allocator
	cache  cacheLayout
	slab   slabLayout
	node   nodeLayout
	cpu    cpuLayout
	sheaf  sheafLayouts
	old    slabOldLayouts
	caches []*Cache
	byAddr map[uint64]*Cache
	direct uint64 // where physical memory is mapped
	nodes  []kernel.Node
	cpus   []kernel.CPUArea
	flags  []flagMask
	// swapped: the address that a hardened free pointer is mixed with has its
	// bytes reversed.
	swapped bool
	broken  error // the end of a broken list of caches
}

// Cache is one slab cache: struct kmem_cache (include/linux/slub_def.h and
// slab_def.h, mm/slab.h since 6.8).
type Cache struct {
	Addr       uint64 // virtual address of the struct kmem_cache
	Name       string // escaped
	Size       int    // bytes from one object to the next
	ObjectSize int    // bytes that its users asked for
	Order      int    // a slab has 1<<Order pages; one of less memory may be smaller
	PerSlab    int    // objects in such a slab
	Flags      uint64 // SLAB_ flags as the kernel has them
	Refcount   int    // how many caches were merged into this one, itself included; SLUB only
	Ctor       uint64 // address of the constructor, 0 for none
	LeftPad    int    // bytes before the first object (red zone); SLUB only
	InUse      int    // bytes of an object up to the allocator's own records behind it; SLUB only
	Align      int
	Capacity   int // objects in a full sheaf, 0 where there are none

	freeAt    int    // where in a free object the pointer to the next one lies; SLUB
	random    uint64 // what that pointer is mixed with
	slabSize  int    // SLAB: bytes of struct slab and its list
	outside   bool   // SLAB: those lie apart from the slab
	nodeAddrs []uint64
	barns     []uint64
	raw       []byte // the struct kmem_cache
	s         *Allocations

	heldOnce sync.Once
	held     *Held
}

// Open finds the slab allocator and reads the list of its caches. The error wraps
// ErrSLOB where the kernel has none, and kernel.ErrNotFound where the debug
// information lacks something. A list of caches that breaks is no error: Broken
// tells it.
func Open(k *kernel.Kernel, pages *page.Map) (*Allocations, error) {
	s := &Allocations{k: k, pages: pages, byAddr: make(map[uint64]*Cache)}
	var ok bool
	if s.direct, ok = k.PageOffset(); !ok {
		return nil, fmt.Errorf("slab caches: the direct mapping of memory was not found")
	}
	if err := s.resolve(); err != nil {
		return nil, fmt.Errorf("slab caches: %w", err)
	}
	s.findFlags()
	s.cpus = k.CPUAreas()
	s.nodes, _ = k.Nodes() // without them there are no lists to walk, and that is said there
	if err := s.readCaches(); err != nil {
		return nil, err
	}
	s.findEncoding()
	return s, nil
}

// Kernel is the kernel that the allocator belongs to.
func (s *Allocations) Kernel() *kernel.Kernel { return s.k }

// Pages is the array of struct page that the slabs are found by.
func (s *Allocations) Pages() *page.Map { return s.pages }

// Kind tells which allocator it is.
func (s *Allocations) Kind() Allocator { return s.kind }

// Caches are all caches, in the order of the kernel's list.
func (s *Allocations) Caches() []*Cache { return s.caches }

// Broken tells where the list of caches broke; nil if it did not. Caches behind
// the break are not known. The error wraps a *list.BreakError, or a
// *kernel.ReadError of a struct kmem_cache.
func (s *Allocations) Broken() error { return s.broken }

// ByName is the cache of a name. Of several of one name, as memory cgroups had
// until 5.8, it is the first. The error wraps ErrNoCache.
func (s *Allocations) ByName(name string) (*Cache, error) {
	for _, c := range s.caches {
		if c.Name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrNoCache, name)
}

// ByAddr is the cache whose struct kmem_cache is at a kernel virtual address.
// The error wraps ErrNoCache.
func (s *Allocations) ByAddr(addr uint64) (*Cache, error) {
	if c := s.byAddr[addr]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("%w: none is at %#x", ErrNoCache, addr)
}

// Allocator is the allocator that the cache belongs to.
func (c *Cache) Allocator() *Allocations { return c.s }

// slabBytes is the size of a slab in bytes.
func (c *Cache) slabBytes(order int) uint64 { return c.s.k.PageSize() << order }
