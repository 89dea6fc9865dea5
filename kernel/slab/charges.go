package slab

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kmortem/mortem/kernel"
)

// ErrNoCharges: the slabs of the kernel do not say which memory cgroup an object is
// charged to: before 5.9 (but for 4.18 of RHEL 8), where each cgroup had caches of its own, and without
// CONFIG_MEMCG.
var ErrNoCharges = errors.New("the slabs of this kernel have no record of the memory cgroup that each object is charged to")

// objcgLayout is struct obj_cgroup (include/linux/memcontrol.h, since 5.9).
type objcgLayout struct {
	kernel.Layout `kernel:"struct obj_cgroup"`
	Memcg         kernel.U64 `kernel:"memcg"`
}

// extLayout is an entry of a slab's array since 6.10 (include/linux/memcontrol.h,
// mm/slab.h); before it is a pointer to a struct obj_cgroup.
type extLayout struct {
	kernel.Layout `kernel:"struct slabobj_ext"`
	Objcg         kernel.U64 `kernel:"objcg"`
}

// chargeFlags are the bits of the array's address that are flags: MEMCG_DATA_OBJEXTS
// (MEMCG_DATA_OBJCGS until 6.9) is always set, others differ by release. A slab that
// no array could be made for has flags only.
const (
	chargeFlags = 7
	chargeArray = 1
)

// maxObjcgs bounds how many obj_cgroups are remembered.
const maxObjcgs = 1 << 16

// Charges tells which memory cgroup each object of a slab is charged to, by the array
// that the slab has of them: page.obj_cgroups in 5.9 and 5.10, memcg_data until 6.9,
// slab.obj_exts since. In 7.x the entries may lie apart, as slab.stride says. It holds
// what is needed again and again; each goroutine has one of its own.
type Charges struct {
	// Coverage counts the slabs whose array, and the obj_cgroups which, could not be
	// read.
	Coverage kernel.PartCoverage

	s        *Allocations
	objcg    objcgLayout
	at, size int // of the pointer in an entry, and of an entry

	mem    Memory // what arrays are read by
	buf    []byte
	array  []byte // of the slab loaded last, nil where none of its objects is charged
	stride int
	lost   bool // it could not be read

	memcgs       map[uint64]uint64 // by obj_cgroup; 0 where that could not be read
	last, lastIn uint64            // the obj_cgroup asked for last, and its mem_cgroup
}

// NewCharges makes a reader of charges. The error is ErrNoCharges where the kernel has
// no record of them.
func (s *Allocations) NewCharges() (*Charges, error) {
	c := &Charges{s: s, mem: s.k, size: 8, memcgs: make(map[uint64]uint64)}
	if !s.slab.Charges.Has() || s.k.Resolve(&c.objcg) != nil {
		return nil, ErrNoCharges
	}
	if s.slab.Charges.Path() == "obj_exts" {
		var l extLayout
		if err := s.k.Resolve(&l); err != nil {
			return nil, ErrNoCharges
		}
		c.at, c.size = int(l.Objcg.Offset()), l.Size()
	}
	return c, nil
}

// Memory is kernel virtual memory; *kernel.Kernel is one, and a slab of a sweep.
type Memory interface {
	Peek(virt uint64, buf []byte) ([]byte, error)
}

// ReadBy makes arrays be read by another way than the kernel's page cache: by that of a
// sweep, which has its own, and would otherwise fill the cache with pages that nobody
// needs again. What Peek returns must be valid until the next call.
func (c *Charges) ReadBy(m Memory) { c.mem = m }

// Load reads the array of a slab. What cannot be read is counted in the coverage.
func (c *Charges) Load(sl *Slab) {
	c.array, c.lost = nil, false
	if sl.charges&^chargeFlags == 0 {
		return
	}
	if err := c.load(sl); err != nil {
		c.array, c.lost = nil, true
		c.Coverage.Fail(err)
	}
}

func (c *Charges) load(sl *Slab) error {
	at := sl.charges &^ chargeFlags
	if sl.charges&chargeArray == 0 {
		return sl.damaged("what says who its objects are charged to, %#x, is no array", sl.charges)
	}
	c.stride = c.size
	if c.s.slab.Stride.Has() {
		// Entries may lie in the objects themselves, one object's size apart.
		if sl.stride < uint64(c.size) || sl.stride > uint64(max(c.size, sl.Cache.Size)) {
			return sl.damaged("what says who its objects are charged to would have an entry each %d bytes", sl.stride)
		}
		c.stride = int(sl.stride)
	}
	if sl.Objects == 0 {
		return nil
	}
	n := (sl.Objects-1)*c.stride + c.size
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	b, err := c.mem.Peek(at, c.buf[:n])
	if err != nil {
		return &Error{Cache: sl.Cache.Name, Slab: sl.Start, Err: err, Reason: "who its objects are charged to"}
	}
	c.array = b
	return nil
}

// Memcg is the virtual address of the struct mem_cgroup that the i-th object of the
// slab loaded last is charged to, 0 for none. It is false where that could not be read.
func (c *Charges) Memcg(i int) (uint64, bool) {
	if c.array == nil {
		return 0, !c.lost
	}
	objcg := binary.LittleEndian.Uint64(c.array[i*c.stride+c.at:])
	if objcg == 0 {
		return 0, true
	}
	if objcg != c.last {
		memcg, ok := c.memcgs[objcg]
		if !ok {
			memcg = c.memcgOf(objcg)
			if len(c.memcgs) >= maxObjcgs {
				clear(c.memcgs)
			}
			c.memcgs[objcg] = memcg
		}
		c.last, c.lastIn = objcg, memcg
	}
	return c.lastIn, c.lastIn != 0
}

func (c *Charges) memcgOf(objcg uint64) uint64 {
	b, err := c.s.k.Peek(objcg, make([]byte, c.objcg.Span()))
	if err != nil {
		c.Coverage.Fail(fmt.Errorf("struct obj_cgroup at %#x: %w", objcg, err))
		return 0
	}
	memcg := c.objcg.Memcg.Get(b)
	if memcg == 0 {
		c.Coverage.Fail(fmt.Errorf("struct obj_cgroup at %#x: it has no memory cgroup: %w", objcg, ErrDamaged))
	}
	return memcg
}
