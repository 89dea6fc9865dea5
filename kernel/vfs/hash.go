package vfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/kmortem/mortem/kernel/list"
)

// HashTable is dentry_hashtable, the hash of all dentries by parent and name
// (fs/dcache.c).
type HashTable struct {
	Addr    uint64 // virtual address of the first bucket
	Buckets uint64 // number of buckets, a power of two
	Index   IndexFunc

	fs    *FS
	shift uint32 // d_hash_shift, as the kernel has it
	lock  uint64 // bits of a bucket that are no pointer
	sure  bool   // Index is what most of a sample of dentries agree with
}

// IndexFunc names the way from a name's hash to its bucket.
type IndexFunc string

// The index functions of d_hash() in fs/dcache.c. The debug information does
// not tell them apart; HashTable looks which one puts dentries where they are.
const (
	// IndexShift: hash >> d_hash_shift. Since 4.16.
	IndexShift IndexFunc = "hash >> d_hash_shift"
	// IndexTopBits: hash >> (32 - d_hash_shift). 4.8 to 4.15; the name's
	// hash holds the parent's address since 4.8.
	IndexTopBits IndexFunc = "hash >> (32 - d_hash_shift)"
	// IndexMultiply: hash_32(hash + parent / 64, d_hash_shift). 4.6 and 4.7.
	IndexMultiply IndexFunc = "hash_32(hash + parent / L1_CACHE_BYTES, d_hash_shift)"
	// IndexFold: 2.6.38 to 4.5, and RHEL 7.
	IndexFold IndexFunc = "hash += parent / L1_CACHE_BYTES; (hash + (hash >> d_hash_shift)) & d_hash_mask"
	// IndexGolden: before 2.6.38.
	IndexGolden IndexFunc = "hash += (parent ^ GOLDEN_RATIO_PRIME) / L1_CACHE_BYTES; (hash ^ ((hash ^ GOLDEN_RATIO_PRIME) >> d_hash_shift)) & d_hash_mask"
)

const (
	l1CacheBytes    = 64
	goldenPrime64   = 0x9e37fffffffc0001 // GOLDEN_RATIO_PRIME of 64-bit kernels before 4.7
	goldenPrime32   = 0x9e370001         // GOLDEN_RATIO_PRIME_32 before 4.7
	maxTableBits    = 31
	indexSampleSize = 64
)

// HashTable finds dentry_hashtable and its geometry. The error wraps
// kernel.ErrNotFound where its variables (fs/dcache.c) are not known, and a
// *kernel.ReadError where they cannot be read; it is another for a size that no
// table has.
func (fs *FS) HashTable() (*HashTable, error) {
	t := &HashTable{fs: fs}
	var err error
	if t.Addr, err = fs.pointerVar("dentry_hashtable"); err != nil {
		return nil, err
	}
	if t.shift, err = fs.uint32Var("d_hash_shift"); err != nil {
		return nil, err
	}
	if fs.k.HasField("struct dentry", "d_hash.pprev") && fs.k.HasType("struct hlist_bl_head") {
		t.lock = 1
	}
	var candidates []IndexFunc
	if fs.k.HasSymbol("d_hash_mask") {
		mask, err := fs.uint32Var("d_hash_mask")
		if err != nil {
			return nil, err
		}
		t.Buckets = uint64(mask) + 1
		candidates = []IndexFunc{IndexTopBits, IndexMultiply, IndexFold, IndexGolden}
	} else {
		t.Buckets = 1 << (32 - min(t.shift, 32))
		candidates = []IndexFunc{IndexShift}
		if t.shift > 32 || t.shift == 0 {
			t.Buckets = 0
		}
	}
	if t.Buckets == 0 || t.Buckets > 1<<maxTableBits || t.Buckets&(t.Buckets-1) != 0 {
		return nil, fmt.Errorf("dentry_hashtable: %d buckets cannot be (d_hash_shift is %d)", t.Buckets, t.shift)
	}
	t.chooseIndex(candidates)
	return t, nil
}

func (fs *FS) pointerVar(name string) (uint64, error) {
	addr, err := fs.k.Symbol(name)
	if err != nil {
		return 0, err
	}
	return fs.k.Uint64(addr)
}

func (fs *FS) uint32Var(name string) (uint32, error) {
	addr, err := fs.k.Symbol(name)
	if err != nil {
		return 0, err
	}
	return fs.k.Uint32(addr)
}

// BucketAddr is the virtual address of a bucket.
func (t *HashTable) BucketAddr(bucket uint64) uint64 { return t.Addr + bucket*8 }

// BucketOf is the bucket that a name's hash and its parent's address lead to.
func (t *HashTable) BucketOf(hash uint32, parent uint64) uint64 {
	return t.bucketBy(t.Index, hash, parent)
}

func (t *HashTable) bucketBy(f IndexFunc, hash32 uint32, parent uint64) uint64 {
	mask := t.Buckets - 1
	switch f {
	case IndexShift:
		return uint64(hash32>>t.shift) & mask
	case IndexTopBits:
		return uint64(hash32>>(32-t.shift)) & mask
	case IndexMultiply:
		h := hash32 + uint32(parent/l1CacheBytes)
		return uint64(h*goldenPrime32>>(32-t.shift)) & mask
	case IndexFold:
		// An unsigned int, so that only the parent's low bits count.
		h := hash32 + uint32(parent/l1CacheBytes)
		return uint64(h+h>>t.shift) & mask
	default:
		h := uint64(hash32) + (parent^goldenPrime64)/l1CacheBytes
		return (h ^ (h^goldenPrime64)>>t.shift) & mask
	}
}

// chooseIndex takes the index function that most of a sample of dentries
// agree with, the first candidate where there is nothing to look at.
func (t *HashTable) chooseIndex(candidates []IndexFunc) {
	t.Index = candidates[0]
	votes := make([]int, len(candidates))
	seen := 0
	for e, err := range t.Entries(0, t.Buckets) {
		if err != nil {
			continue
		}
		for i, f := range candidates {
			if t.bucketBy(f, e.Dentry.Hash, e.Dentry.Parent) == e.Bucket {
				votes[i]++
			}
		}
		if seen++; seen == indexSampleSize {
			break
		}
	}
	most := 0
	for i, v := range votes {
		if v > most {
			t.Index, most = candidates[i], v
		}
	}
	t.sure = 2*most > seen
}

// Entry is one dentry in a hash chain.
type Entry struct {
	Bucket uint64 // number of the bucket
	Index  int    // how many dentries come before it in the chain
	Dentry *Dentry
}

// ChainError is a break in a hash chain. The dentries before it were yielded;
// those behind it cannot be reached.
type ChainError struct {
	Bucket uint64
	Err    error // a *list.BreakError, or a *kernel.ReadError of the table itself
}

// Error implements error.
func (e *ChainError) Error() string {
	return fmt.Sprintf("dentry_hashtable bucket %d: %v", e.Bucket, e.Err)
}

// Unwrap makes errors.Is and errors.As work for the cause.
func (e *ChainError) Unwrap() error { return e.Err }

// bucketsAtOnce is how many heads are read in one go: 64 KiB of table.
const bucketsAtOnce = 8192

// Entries yields the dentries of the buckets from ≤ bucket < to, chain after
// chain, each from its head on. The Entry and its Dentry are valid until the
// next step. An error ends one chain, and the walk goes on with the next.
func (t *HashTable) Entries(from, to uint64) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		w := t.walker()
		heads := make([]byte, 8*min(bucketsAtOnce, to-min(from, to)))
		for first := from; first < to; first += bucketsAtOnce {
			n := min(bucketsAtOnce, to-first)
			// Where the table cannot be read as a whole, what is missing is read
			// bucket by bucket, and each error is told there.
			got, _ := t.fs.k.Read(heads[:8*n], t.BucketAddr(first))
			for i := range n {
				if 8*(i+1) > uint64(got) {
					if !w.singly(first+i, first+n, yield) {
						return
					}
					break
				}
				head := binary.LittleEndian.Uint64(heads[8*i:]) &^ t.lock
				if head != 0 && !w.chain(first+i, head, yield) {
					return
				}
			}
		}
	}
}

// Chain yields the dentries of one bucket; see Entries.
func (t *HashTable) Chain(bucket uint64) iter.Seq2[*Entry, error] {
	return t.Entries(bucket, bucket+1)
}

// chainWalker holds what the walk over many chains needs, so that nothing is
// allocated for a chain or a dentry.
type chainWalker struct {
	t     *HashTable
	entry Entry
	d     Dentry
	buf   []byte
	limit int
}

func (t *HashTable) walker() *chainWalker {
	l := &t.fs.dentry
	w := &chainWalker{t: t, buf: make([]byte, l.Span()), limit: t.fs.maxObjects(l.Size())}
	w.entry.Dentry = &w.d
	return w
}

// singly goes through buckets whose heads could not be read in bulk, one by
// one, so that each one that is lost is reported and the others are walked.
func (w *chainWalker) singly(from, to uint64, yield func(*Entry, error) bool) bool {
	for b := from; b < to; b++ {
		head, err := w.t.fs.k.Uint64(w.t.BucketAddr(b))
		if err != nil {
			if !yield(nil, &ChainError{Bucket: b, Err: err}) {
				return false
			}
			continue
		}
		if head &^= w.t.lock; head != 0 && !w.chain(b, head, yield) {
			return false
		}
	}
	return true
}

// chain walks one chain from its first node on. It returns false where the
// consumer wants no more.
func (w *chainWalker) chain(bucket, node uint64, yield func(*Entry, error) bool) bool {
	l := &w.t.fs.dentry
	k := w.t.fs.k
	toObject := l.Next.Offset()
	head := w.t.BucketAddr(bucket)
	slot := head
	var slack list.Slack
	for i := 0; node != 0; i++ {
		reason := ""
		addr := node - toObject
		b, err := k.Peek(addr, w.buf)
		switch {
		case err != nil:
			reason = "the dentry cannot be read"
		case i >= w.limit:
			reason = "the chain has more entries than memory can hold"
		case slack.Again(node) || node == head:
			reason = "it was passed before: the chain goes in a circle"
		default:
			l.decode(&w.d, addr, b)
			if w.d.pprev != slot {
				reason = w.suspicion(&slack, list.Place{Head: head, Lock: w.t.lock, Index: i}, bucket, slot)
			}
		}
		if reason != "" {
			return yield(nil, &ChainError{Bucket: bucket,
				Err: &list.BreakError{Head: head, At: node, Index: i, Reason: reason, Err: err}})
		}
		w.entry.Bucket, w.entry.Index = bucket, i
		if !yield(&w.entry, nil) {
			return false
		}
		slot, node = node, w.d.next
	}
	return true
}

// suspicion says why the dentry just read, whose pointer back is not the slot
// that led to it, cannot be the next one of a chain, "" where it can: the chain
// may have been caught in the middle of a change, but then the dentry is one of
// this chain.
func (w *chainWalker) suspicion(slack *list.Slack, p list.Place, bucket, slot uint64) string {
	if w.t.sure && w.t.BucketOf(w.d.Hash, w.d.Parent) != bucket {
		return fmt.Sprintf("its hash leads to bucket %d", w.t.BucketOf(w.d.Hash, w.d.Parent))
	}
	node := w.d.Addr + w.t.fs.dentry.Next.Offset()
	if !slack.Allow(w.t.fs.k, p, node, w.d.pprev, 0) {
		return fmt.Sprintf("its d_hash.pprev is %#x instead of %#x", w.d.pprev, slot)
	}
	return ""
}

// Find returns the place of a dentry in its chain: the bucket by its hash, and
// how many dentries come before it. It returns list errors where the chain
// breaks before the dentry, and ErrNotHashed where the chain ends without it.
func (t *HashTable) Find(d *Dentry) (bucket uint64, index, length int, err error) {
	bucket, index = t.BucketOf(d.Hash, d.Parent), -1
	for e, err := range t.Chain(bucket) {
		if err != nil {
			return bucket, index, length, err
		}
		if e.Dentry.Addr == d.Addr {
			index = e.Index
		}
		length++
	}
	if index < 0 {
		return bucket, index, length, ErrNotHashed
	}
	return bucket, index, length, nil
}

// ErrNotHashed: the dentry is not in the chain that its hash leads to.
var ErrNotHashed = errors.New("the dentry is not in its hash chain")
