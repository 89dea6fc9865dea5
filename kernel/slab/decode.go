package slab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/kmortem/mortem/kernel/page"
)

// Slab is one slab of a cache: a run of 1<<Order pages, described by struct
// slab (mm/slab.h) since 5.17 and by struct page (include/linux/mm_types.h)
// before.
type Slab struct {
	Cache   *Cache
	Page    uint64 // virtual address of its first struct page (struct slab since 5.17)
	PFN     uint64 // of the first page
	Start   uint64 // virtual address of the first byte
	First   uint64 // virtual address of the first object
	Node    int    // NUMA node of its memory, -1 where that is not known
	Order   int
	Objects int // how many it has room for
	// InUse is the slab's own counter. It counts those free objects as well that
	// processors keep for themselves; see Held.
	InUse    int
	Freelist uint64 // SLUB: virtual address of the first free object; SLAB since 3.13: of the list
	Frozen   bool   // SLUB: it belongs to a processor

	descriptor uint64 // SLAB until 3.12: address of the struct slab
	free       uint32 // SLAB until 3.12: index of the first free object
	charges    uint64 // the array that says who objects are charged to, with its flags
	stride     uint64 // bytes from one of its entries to the next, where the slab says so
}

// ErrUnknownCache: a page is marked as a slab's, and leads to no known cache.
var ErrUnknownCache = errors.New("a slab of no known cache")

// ErrDamaged is wrapped by the errors about slabs that contradict themselves.
var ErrDamaged = errors.New("damaged slab")

// Error says what is wrong with a slab. It wraps ErrDamaged, or why something
// could not be read.
type Error struct {
	Cache  string // its name
	Slab   uint64 // virtual address of the slab's first byte
	Reason string
	Err    error
}

// Error implements error.
func (e *Error) Error() string {
	s := fmt.Sprintf("slab at %#x of cache %s: %s", e.Slab, e.Cache, e.Reason)
	if e.Err != ErrDamaged {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap makes errors.Is and errors.As work for the cause.
func (e *Error) Unwrap() error { return e.Err }

func (sl *Slab) damaged(format string, args ...any) error {
	return &Error{Cache: sl.Cache.Name, Slab: sl.Start, Reason: fmt.Sprintf(format, args...), Err: ErrDamaged}
}

// Bytes is the size of the slab in bytes.
func (sl *Slab) Bytes() int { return int(sl.Cache.slabBytes(sl.Order)) }

// Object is the virtual address of the i-th object.
func (sl *Slab) Object(i int) uint64 { return sl.First + uint64(i)*uint64(sl.Cache.Size) }

// Offset is where the i-th object begins in the bytes of the slab.
func (sl *Slab) Offset(i int) int { return int(sl.First-sl.Start) + i*sl.Cache.Size }

// Index is the object that a kernel virtual address lies in, and how many bytes
// into it; false for the room before, between and behind objects.
func (sl *Slab) Index(addr uint64) (i, offset int, ok bool) {
	from := addr - sl.First
	if from >= uint64(sl.Objects)*uint64(sl.Cache.Size) {
		return 0, 0, false
	}
	at, size := uint32(from), uint32(sl.Cache.Size)
	return int(at / size), int(at % size), true
}

// Decoder reads slabs and which of their objects are in use. It holds what is
// needed again and again, so that nothing is allocated for a slab; each goroutine
// has one of its own.
type Decoder struct {
	s     *Allocations
	last  *Cache // of the slab before
	bits  []uint64
	entry []byte // SLAB: the list of free objects where it lies apart
	peek  func(virt uint64, buf []byte) ([]byte, error)
	// Free is how many objects the slab loaded last has that are free, those that
	// processors keep for themselves included.
	Free int
}

// NewDecoder makes a decoder.
func (s *Allocations) NewDecoder() *Decoder {
	return &Decoder{s: s, bits: make([]uint64, 8)}
}

// Slab reads what a struct page says of a slab. raw is the struct page and next
// the one behind it, which may be nil for a page that is no head of a compound
// page, as page.Block has them. Only pages with p.Slab set and p.Head 0 are to be
// asked. With SLAB until 3.12 those are all pages of a slab: sl.PFN, that of the first
// one, then tells which to pass over. The error wraps ErrUnknownCache or ErrDamaged.
func (d *Decoder) Slab(p *page.Page, raw, next []byte) (Slab, error) {
	s, l := d.s, &d.s.slab
	sl := Slab{Page: p.Addr, PFN: p.PFN, Start: s.direct + p.PFN*s.k.PageSize(), Node: s.pages.Node(p)}
	addr := l.Cache.Get(raw)
	if d.last == nil || d.last.Addr != addr {
		c := s.byAddr[addr]
		if c == nil {
			return sl, &Error{Cache: "?", Slab: sl.Start, Reason: fmt.Sprintf("its cache would be at %#x", addr), Err: ErrUnknownCache}
		}
		d.last = c
	}
	sl.Cache = d.last
	sl.Order = sl.Cache.Order
	if l.Charges.Has() {
		sl.charges = l.Charges.Get(raw)
	}
	if l.Stride.Has() {
		sl.stride = l.Stride.Get(raw)
	}
	if s.kind == SLAB {
		return sl, d.slabOld(&sl, raw)
	}
	sl.Objects, sl.InUse = int(l.Objects.Get(raw)), int(l.InUse.Get(raw))
	sl.Freelist = l.Freelist.Get(raw)
	sl.Frozen = l.Frozen.Has() && l.Frozen.Get(raw) != 0
	sl.First = sl.Start + uint64(sl.Cache.LeftPad)
	// A slab of less memory, or from before the cache's order was changed, has
	// another number of objects.
	if sl.Objects != sl.Cache.PerSlab {
		if sl.Order = 0; p.HeadPage && len(next) != 0 {
			sl.Order = s.pages.Order(p, next)
		}
		if sl.Order > maxOrder {
			return sl, sl.damaged("it has order %d", sl.Order)
		}
	}
	return sl, sl.check()
}

// check refuses counters that cannot be, so that all further use is safe.
func (sl *Slab) check() error { return sl.checkIn(uint64(sl.Bytes())) }

func (sl *Slab) checkIn(bytes uint64) error {
	room := sl.Start + bytes - sl.First
	if sl.First < sl.Start || room > bytes || uint64(sl.Objects)*uint64(sl.Cache.Size) > room {
		return sl.damaged("%d objects of %d bytes are more than its %d pages hold", sl.Objects, sl.Cache.Size, 1<<sl.Order)
	}
	if sl.InUse > sl.Objects {
		return sl.damaged("%d of %d objects would be in use", sl.InUse, sl.Objects)
	}
	return nil
}

// Load finds out which objects of a slab are free. mem is the slab's memory, of
// which the end may be missing. On an error the objects found free so far are known,
// the others are taken for live ones: the number of live objects is then an upper
// bound. An error wraps ErrDamaged where the list of free objects leads out of the
// slab or in a circle, or differs from the slab's counter.
func (d *Decoder) Load(sl *Slab, mem []byte) error {
	d.reset(sl)
	var err error
	if d.s.kind == SLAB {
		err = d.loadOld(sl, mem)
	} else {
		err = d.walk(sl, mem, sl.Freelist)
	}
	if err == nil && d.Free != sl.Objects-sl.InUse {
		err = sl.damaged("its list of free objects has %d, by its counters there are %d", d.Free, sl.Objects-sl.InUse)
	}
	if cpuErr := d.addHeld(sl, mem); err == nil {
		err = cpuErr
	}
	return err
}

// IsFree tells whether an object of the slab loaded last is free.
func (d *Decoder) IsFree(i int) bool { return d.bits[i>>6]>>(i&63)&1 != 0 }

// Live is how many objects of the slab loaded last are in use.
func (d *Decoder) Live(sl *Slab) int { return sl.Objects - d.Free }

// mark takes an object for free. It is false for one that was marked before.
func (d *Decoder) mark(i int) bool {
	word, bit := &d.bits[i>>6], uint64(1)<<(i&63)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	d.Free++
	return true
}

// walk follows a list of free objects of SLUB, which all lie in the slab. It ends
// at an object that was passed before, so it is bounded.
func (d *Decoder) walk(sl *Slab, mem []byte, at uint64) error {
	c := sl.Cache
	prev := uint64(0)
	for at != 0 {
		i, off, ok := sl.Index(at)
		if !ok || off != 0 {
			return sl.damaged("the free object %#x leads to %#x, where no object of the slab is", prev, at)
		}
		if !d.mark(i) {
			return sl.damaged("its list of free objects goes in a circle at %#x", at)
		}
		place := sl.Offset(i) + c.freeAt
		if place+8 > len(mem) {
			return &Error{Cache: c.Name, Slab: sl.Start, Err: ErrPart,
				Reason: fmt.Sprintf("its list of free objects cannot be followed behind %#x", at)}
		}
		prev, at = at, d.s.decode(c, binary.LittleEndian.Uint64(mem[place:]), at+uint64(c.freeAt))
	}
	return nil
}

// ErrPart: a part of the slab's memory is not at hand.
var ErrPart = errors.New("a part of the slab could not be read")

// decode undoes CONFIG_SLAB_FREELIST_HARDENED: since 4.14 the pointer is mixed with
// a number of the cache and the address it is stored at, whose bytes are reversed
// since 5.7 and in later updates of some older releases.
func (s *Allocations) decode(c *Cache, v, at uint64) uint64 {
	if !s.cache.Random.Has() {
		return v
	}
	if s.swapped {
		at = bits.ReverseBytes64(at)
	}
	return v ^ c.random ^ at
}

// findEncoding tells the two forms of hardening apart by what they make of the free
// objects at hand: the wrong one leads nowhere.
func (s *Allocations) findEncoding() {
	s.swapped = true
	if s.kind != SLUB || !s.cache.Random.Has() {
		return
	}
	votes, tries := 0, 0
	for _, c := range s.caches {
		for sl, err := range s.Partial(c) {
			if tries++; tries > 1000 {
				break
			}
			if err != nil {
				continue
			}
			plain, swapped := s.votes(&sl)
			if votes += swapped - plain; plain != swapped {
				break // the next cache: one cannot decide for all
			}
		}
		if votes > 16 || votes < -16 {
			break
		}
	}
	for _, c := range s.caches {
		if votes != 0 {
			break
		}
		votes += s.heldVotes(c)
	}
	s.swapped = votes >= 0
}

// heldVotes asks the free objects of the slabs that processors allocate from, where
// no slab is in a list of partly used ones.
func (s *Allocations) heldVotes(c *Cache) (votes int) {
	for _, cpu := range c.Held().CPUs {
		pfn, ok := s.pages.PFN(cpu.Slab)
		if !ok || cpu.first == 0 {
			continue
		}
		if sl, ok, err := s.SlabOf(pfn); ok && err == nil {
			sl.Freelist = cpu.first
			plain, swapped := s.votes(&sl)
			votes += swapped - plain
		}
	}
	return votes
}

// votes is whether the first free object of a slab leads to one by each form.
func (s *Allocations) votes(sl *Slab) (plain, swapped int) {
	c := sl.Cache
	at := sl.Freelist + uint64(c.freeAt)
	if _, off, ok := sl.Index(sl.Freelist); !ok || off != 0 {
		return 0, 0
	}
	v, err := s.k.Uint64(at)
	if err != nil {
		return 0, 0
	}
	good := func(next uint64) int {
		if _, off, ok := sl.Index(next); ok && off == 0 || next == 0 {
			return 1
		}
		return 0
	}
	return good(v ^ c.random ^ at), good(v ^ c.random ^ bits.ReverseBytes64(at))
}
