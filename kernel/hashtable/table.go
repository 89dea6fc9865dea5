// Package hashtable walks the kernel's hash tables, whatever they are made of:
// arrays of hlist_head, hlist_bl_head, hlist_nulls_head, list_head or bare
// pointers, alone or inside of a structure, and resizable ones (struct
// rhashtable). Where the tables of the kernel are, and how large, it knows by
// name (Presets); any other is found by a C expression.
package hashtable

import (
	"encoding/binary"
	"fmt"
	"iter"
	"sort"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/list"
)

// Table is one hash table. Addresses are kernel virtual ones.
type Table struct {
	Name    string // of the preset, or the expression
	Expr    string // the C expression that is the table
	Net     uint64 // the struct net that it belongs to, 0 for those of the whole kernel
	Addr    uint64 // of the first bucket
	Buckets uint64
	Stride  uint64 // bytes from one bucket to the next
	Head    Head
	Entry   string // type and member that links it, such as "struct dentry.d_hash"; empty where it is not known
	Counter *int64 // the kernel's own count of the entries, where there is one

	k       *kernel.Kernel
	link    uint64   // offset of the link in an entry
	parts   []part   // where the buckets do not lie side by side
	nulls   nullBase // what the ends of hlist_nulls say
	maximum int      // no chain has more entries
}

// part is a run of buckets of a table that does not lie in one piece. At the
// address 0 there is none yet: its buckets are empty.
type part struct{ first, count, addr uint64 }

// partOf is the part that a bucket is in.
func (t *Table) partOf(bucket uint64) part {
	i := sort.Search(len(t.parts), func(i int) bool { return t.parts[i].first > bucket })
	return t.parts[i-1]
}

// Chain is a bucket with entries. Addresses are kernel virtual ones.
type Chain struct {
	Bucket uint64
	Addr   uint64 // of the head
	Length int
}

// ChainError is a break in a chain. What comes before it was counted, what is
// behind it cannot be reached.
type ChainError struct {
	Table  string
	Bucket uint64
	Err    error // a *list.BreakError, or a *kernel.ReadError of the table itself
}

// Error implements error.
func (e *ChainError) Error() string {
	return fmt.Sprintf("%s bucket %d: %v", e.Table, e.Bucket, e.Err)
}

// Unwrap makes errors.Is and errors.As work for the cause.
func (e *ChainError) Unwrap() error { return e.Err }

// HeadAddr is the virtual address of a bucket's head; 0 where the bucket was not
// allocated yet.
func (t *Table) HeadAddr(bucket uint64) uint64 {
	if t.parts == nil {
		return t.Addr + bucket*t.Stride + t.Head.Offset
	}
	p := t.partOf(bucket)
	if p.addr == 0 {
		return 0
	}
	return p.addr + (bucket-p.first)*t.Stride + t.Head.Offset
}

// bytesAtOnce is how much of a table is read in one go.
const bytesAtOnce = 64 << 10

// Chains yields the chains of the buckets from ≤ bucket < to that have entries,
// each with its length. Where one breaks, it comes with the error, a *ChainError,
// and the length up to there; the walk goes on with the next.
func (t *Table) Chains(from, to uint64) iter.Seq2[Chain, error] {
	to = min(to, t.Buckets)
	return func(yield func(Chain, error) bool) {
		w := walker{t: t}
		atOnce := max(bytesAtOnce/t.Stride, 1)
		buf := make([]byte, atOnce*t.Stride)
		for first := from; first < to; {
			n := min(atOnce, to-first)
			if t.parts != nil {
				p := t.partOf(first)
				if n = min(n, p.first+p.count-first); p.addr == 0 {
					first = p.first + p.count
					continue
				}
			}
			if !w.run(first, n, buf, yield) {
				return
			}
			first += n
		}
	}
}

// run walks n chains from a bucket on, whose heads it reads in one go; where that
// fails it reads them one by one, so that each that is lost is told.
func (w *walker) run(first, n uint64, buf []byte, yield func(Chain, error) bool) bool {
	t := w.t
	at := t.HeadAddr(first)
	buf = buf[:(n-1)*t.Stride+8]
	got, _ := t.k.Read(buf, at) // what is missing is read again, and each error told there
	for i := range n {
		off := i * t.Stride
		c := Chain{Bucket: first + i, Addr: at + off}
		if off+8 > uint64(got) {
			if _, err := t.k.Read(buf[off:off+8], c.Addr); err != nil {
				if !yield(c, &ChainError{t.Name, c.Bucket, err}) {
					return false
				}
				continue
			}
		}
		length, err := w.chain(c, binary.LittleEndian.Uint64(buf[off:]), nil)
		if err == nil && length == 0 {
			continue
		}
		c.Length = length
		if !yield(c, err) {
			return false
		}
	}
	return true
}

// Entries yields the addresses of the entries of one bucket in their order: those
// of the objects where Entry says what they are, and else of their links. An error
// ends it.
func (t *Table) Entries(bucket uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		if bucket >= t.Buckets {
			return
		}
		c := Chain{Bucket: bucket, Addr: t.HeadAddr(bucket)}
		if c.Addr == 0 {
			return
		}
		first, err := t.k.Uint64(c.Addr)
		if err != nil {
			yield(0, &ChainError{t.Name, bucket, err})
			return
		}
		w := walker{t: t}
		more := true
		_, err = w.chain(c, first, func(node uint64) bool {
			more = yield(node-t.link, nil)
			return more
		})
		if err != nil && more {
			yield(0, err)
		}
	}
}

// walker holds what the walk over many chains needs, so that nothing is allocated
// for a chain or an entry.
type walker struct {
	t   *Table
	buf [16]byte
}

// chain walks one chain, whose head holds first, and tells visit of each link. It
// returns how many there are, up to where it breaks.
func (w *walker) chain(c Chain, first uint64, visit func(node uint64) bool) (int, error) {
	switch w.t.Head.Kind {
	case Rhash, Pointer:
		return w.single(c, first&^w.t.Head.lock, visit)
	}
	return w.double(c, first, visit)
}

// end tells whether a pointer is the end of a chain.
func (h *Head) end(at, head uint64) bool {
	switch h.Kind {
	case Nulls:
		return at&1 != 0
	case List:
		return at == head || at == 0 // 0: nobody initialised it yet
	case Rhash:
		return at == 0 || at&1 != 0
	}
	return at == 0
}

func (t *Table) broken(c Chain, at uint64, i int, reason string, err error) error {
	return &ChainError{t.Name, c.Bucket, &list.BreakError{Head: c.Addr, At: at, Index: i, Reason: reason, Err: err}}
}

// double walks a chain whose links point back: to the pointer that leads to them.
func (w *walker) double(c Chain, first uint64, visit func(uint64) bool) (int, error) {
	t, h := w.t, &w.t.Head
	var slack list.Slack
	before, slot, at := uint64(0), c.Addr, first&^h.lock
	if h.Kind == List && first == 0 {
		return 0, nil
	}
	for i := 0; ; i++ {
		if h.end(at, c.Addr) {
			if h.Kind == List && at == 0 {
				return i, t.broken(c, at, i, "it is NULL", nil)
			}
			return i, t.nulls.check(t, c, at, i)
		}
		if i >= t.maximum || slack.Again(at) || at == c.Addr {
			return i, t.broken(c, at, i, "it was passed before, or there are more entries than memory can hold", nil)
		}
		b, err := t.k.Peek(at, w.buf[:])
		if err != nil {
			return i, t.broken(c, at, i, "it cannot be read", err)
		}
		next, back := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		if back != slot && (t.otherHead(c, back) || !slack.Allow(t.k, list.Place{Head: c.Addr, Lock: h.lock, Index: i}, at, back, before)) {
			return i, t.broken(c, at, i, fmt.Sprintf("its pointer back is %#x instead of %#x", back, slot), nil)
		}
		if visit != nil && !visit(at) {
			return i + 1, nil
		}
		if h.Kind == List {
			before = slot
		}
		slot, at = at, next
	}
}

// otherHead tells whether an address is that of another bucket of the table: what
// points back to it is the first entry of another chain.
func (t *Table) otherHead(c Chain, at uint64) bool {
	return at != c.Addr && t.parts == nil && at-t.Addr < t.Buckets*t.Stride
}

// single walks a chain whose links lead in one direction only. A circle is found
// by comparing with the place where the number of steps was last a power of two.
func (w *walker) single(c Chain, at uint64, visit func(uint64) bool) (int, error) {
	t, h := w.t, &w.t.Head
	mark, markAt := uint64(0), 1
	for i := 0; ; i++ {
		if h.end(at, c.Addr) {
			return i, nil
		}
		if i >= t.maximum || at == mark {
			return i, t.broken(c, at, i, "it was passed before, or there are more entries than memory can hold", nil)
		}
		if i == markAt {
			mark, markAt = at, 2*markAt
		}
		b, err := t.k.Peek(at+h.Next, w.buf[:8])
		if err != nil {
			return i, t.broken(c, at, i, "it cannot be read", err)
		}
		if visit != nil && !visit(at) {
			return i + 1, nil
		}
		at = binary.LittleEndian.Uint64(b)
	}
}

// nullBase is what the ends of a table's hlist_nulls say: the number of their
// bucket, and something that is the same for all of a table.
type nullBase struct {
	known bool
	base  uint64
}

// sampledHeads is how many buckets tell what the ends of chains say.
const sampledHeads = 64

// learnNulls finds out what the ends of the chains say from the empty buckets at
// the start of the table. Where these do not agree, nothing is checked.
func (t *Table) learnNulls() {
	if t.Head.Kind != Nulls {
		return
	}
	seen := 0
	for bucket := range min(t.Buckets, sampledHeads) {
		v, err := t.k.Uint64(t.HeadAddr(bucket))
		if err != nil || v&1 == 0 {
			continue
		}
		base := v>>1 - bucket
		if seen++; seen > 1 && base != t.nulls.base {
			t.nulls.known = false
			return
		}
		t.nulls = nullBase{known: true, base: base}
	}
}

// check tells whether the end of a chain is that of the bucket where it began: a
// chain that ends in another's leads there from somewhere on.
func (n nullBase) check(t *Table, c Chain, at uint64, i int) error {
	if t.Head.Kind != Nulls || !n.known || at>>1 == n.base+c.Bucket {
		return nil
	}
	return t.broken(c, at, i, fmt.Sprintf("the chain ends as that of bucket %d", at>>1-n.base), nil)
}
