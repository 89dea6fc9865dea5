package slab

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/ctype"
	"github.com/kmortem/mortem/kernel/debuginfo"
	"github.com/kmortem/mortem/kernel/debuginfo/btf"
	"github.com/kmortem/mortem/kernel/slab"
)

const textKind = debuginfo.SymbolText

// KindReport says what the live objects of a cache look like. It is inferred from their
// content: no record in the kernel says of what type an object is.
type KindReport struct {
	Cache      string          `json:"cache"`
	Method     string          `json:"method"`
	Live       uint64          `json:"live"`       // objects in use
	Examined   uint64          `json:"examined"`   // of these; where not all were, the shares are those of a sample
	Candidates int             `json:"candidates"` // types whose size fits
	Kinds      []ObjectKind    `json:"kinds"`      // the most first
	Coverage   kernel.Coverage `json:"coverage"`
}

// ObjectKind is one sort of objects in a cache.
type ObjectKind struct {
	// Types are the types that the objects look like: several where their content does
	// not tell them apart, none where no type fits.
	Types []string `json:"types,omitempty"`
	Count uint64   `json:"count"`
	Share float64  `json:"share"` // of the objects examined
	// Marks are what the objects have in common: pointers to variables and functions
	// of the kernel, and numbers too large to be equal by chance.
	Marks []string `json:"marks,omitempty"`
	// Counts are the commonest values of reference counts, and Lists how many of the
	// objects are linked into a list by each list_head or hlist_node.
	Counts  []CountMember `json:"counts,omitempty"`
	Lists   []ListMember  `json:"lists,omitempty"`
	Samples []kernel.Addr `json:"samples"`
}

// CountMember is a reference count of the objects of a kind.
type CountMember struct {
	Member string  `json:"member"`
	Value  int64   `json:"value"` // the commonest
	Share  float64 `json:"share"` // of the objects that have it
}

// ListMember is a list that objects of a kind can be in.
type ListMember struct {
	Member string  `json:"member"`
	Linked float64 `json:"linked"` // share of the objects that are in one
}

const kindMethod = "candidates are the types of a fitting size; lists whose neighbours point back, pointers to the start of functions, " +
	"pointers to variables of the declared type and pointers to objects of the declared type's cache speak for a type, broken ones against it"

// KindOptions choose how much is looked at.
type KindOptions struct {
	Limit int // look at about so many objects, spread over the slabs; 100,000 where 0, all where negative
}

const (
	defaultKindLimit = 100_000
	sampleObjects    = 1000
	maxCandidates    = 4000
	keptCandidates   = 24
	maxTied          = 3
	minScore         = 6
	kindSamples      = 4
)

// sampled is one object of the sample.
type sampled struct {
	addr uint64
	mem  []byte
}

// Kinds classifies the live objects of a cache by their content. The error is
// that of ctx; what could not be read is in the report's coverage.
func Kinds(ctx context.Context, s *slab.Allocations, c *slab.Cache, opt KindOptions) (*KindReport, error) {
	switch {
	case opt.Limit < 0:
		opt.Limit = math.MaxInt32
	case opt.Limit == 0:
		opt.Limit = defaultKindLimit
	}
	w := &kinds{j: newJudge(s), s: s, c: c, r: &KindReport{Cache: c.Name, Method: kindMethod, Kinds: []ObjectKind{},
		Coverage: s.Kernel().NewCoverage()}, found: make(map[string]*kindTally)}
	live := w.count()
	w.r.Live = live
	sample, err := w.collect(ctx, max(1, int(live/sampleObjects)))
	if err != nil {
		return nil, err
	}
	w.findMarks(sample)
	w.findCandidates(sample)
	var cover kernel.Coverage // the first pass has told
	every, n := max(1, (int(live)+opt.Limit-1)/opt.Limit), 0
	err = eachSlab(ctx, s, c, &cover, func(sl *slab.Slab, d *slab.Decoder, mem []byte) bool {
		for i := range sl.Objects {
			at := sl.Offset(i)
			if d.IsFree(i) || at+c.Size > len(mem) {
				continue
			}
			if n++; n%every == 0 {
				w.classify(sl.Object(i), mem[at:at+c.ObjectSize])
			}
		}
		return true
	})
	w.finish()
	return w.r, err
}

type kinds struct {
	j     *judge
	s     *slab.Allocations
	c     *slab.Cache
	r     *KindReport
	cands []*candidate
	marks []mark
	found map[string]*kindTally
}

// count is how many live objects there are, by the slabs' counters.
func (w *kinds) count() uint64 {
	spans := w.s.Pages().Spans()
	n := uint64(0)
	for sl, err := range w.s.Walk(0, spans[len(spans)-1].End) {
		if err == nil && sl.Cache == w.c {
			n += uint64(sl.InUse)
		}
	}
	return n - min(n, uint64(w.c.Held().FreeOutside()))
}

// collect copies every so many-th live object.
func (w *kinds) collect(ctx context.Context, every int) ([]sampled, error) {
	var list []sampled
	n := 0
	err := eachSlab(ctx, w.s, w.c, &w.r.Coverage, func(sl *slab.Slab, d *slab.Decoder, mem []byte) bool {
		for i := range sl.Objects {
			at := sl.Offset(i)
			if d.IsFree(i) || at+w.c.Size > len(mem) {
				continue
			}
			if n++; n%every == 0 && len(list) < 2*sampleObjects {
				list = append(list, sampled{sl.Object(i), slices.Clone(mem[at : at+w.c.ObjectSize])})
			}
		}
		return true
	})
	w.r.Live = uint64(n)
	return list, err
}

// sizes are what a type may measure to be in the cache: merged caches differ by less
// than what rounding up makes equal, and kmalloc takes the next size that it has.
func (w *kinds) sizes() (low, high int64) {
	high = int64(w.c.ObjectSize)
	step := 8
	if w.c.Has(slab.FlagHWAlign) || w.c.Refcount > 1 {
		step = 64
	}
	low = high - int64(max(step, min(w.c.Align, 256)))
	if strings.HasPrefix(w.c.Name, "kmalloc-") || strings.HasPrefix(w.c.Name, "size-") {
		low = 0
		for _, c := range w.s.Caches() {
			if (strings.HasPrefix(c.Name, "kmalloc-") || strings.HasPrefix(c.Name, "size-")) && int64(c.Size) < high {
				low = max(low, int64(c.Size))
			}
		}
	}
	return low, high
}

// findCandidates keeps the types that fit the sample best.
func (w *kinds) findCandidates(sample []sampled) {
	names := typeNames(w.s.Kernel().Info())
	if names == nil {
		w.r.Method += "; the debug information at hand does not list its types"
		return
	}
	low, high := w.sizes()
	var all []*candidate
	for name := range names {
		if neverSlab[name] || !strings.HasPrefix(name, "struct ") || len(all) == maxCandidates {
			continue
		}
		t, err := w.s.Kernel().Type(name)
		if err != nil || t.Incomplete || (t.Size() <= low || t.Size() > high) && name != w.j.known[w.c.Name] {
			continue
		}
		if c := (&candidate{name: name, typ: t, probes: compile(t)}); len(c.probes) > 0 {
			all = append(all, c)
		}
	}
	w.r.Candidates = len(all)
	for _, o := range sample {
		for _, c := range w.best(all, o.addr, o.mem) {
			c.best++
		}
	}
	slices.SortFunc(all, func(a, b *candidate) int { return cmp.Or(cmp.Compare(b.best, a.best), cmp.Compare(a.name, b.name)) })
	for _, c := range all[:min(len(all), keptCandidates)] {
		if c.best > 0 {
			w.cands = append(w.cands, c)
		}
	}
}

// neverSlab are types that lie elsewhere, and fit much.
var neverSlab = map[string]bool{"struct page": true, "struct folio": true, "struct slab": true, "struct ptdesc": true}

// typeNames lists the types that debug information has; nil where it cannot.
func typeNames(info debuginfo.Source) iter.Seq[string] {
	switch s := info.(type) {
	case debuginfo.Names:
		return s.Types()
	case interface{ Types() *btf.Types }: // what the dump holds itself
		return func(yield func(string) bool) {
			for kind, name := range s.Types().Types() {
				if kind == ctype.Struct && !yield("struct "+name) {
					return
				}
			}
		}
	}
	return nil
}

// best are the candidates that an object fits best: several of one score, none where
// none fits.
func (w *kinds) best(list []*candidate, addr uint64, mem []byte) []*candidate {
	var out []*candidate
	top := minScore - 1
	for _, c := range list {
		score, strong := w.j.weigh(c, mem, addr)
		if strong < 2 || score < top || score < minScore {
			continue
		}
		if score > top {
			out, top = out[:0], score
		}
		out = append(out, c)
	}
	return out
}

// kindTally is what is counted of one kind.
type kindTally struct {
	kind   ObjectKind
	cands  []*candidate
	counts []countTally
	lists  []listTally
}

type countTally struct {
	path   string
	off    int
	values map[int32]uint64
}

type listTally struct {
	path   string
	off    int
	linked uint64
}

func (w *kinds) classify(addr uint64, mem []byte) {
	w.r.Examined++
	fits := w.best(w.cands, addr, mem)
	if len(fits) > maxTied {
		fits = nil // what so many have in common tells nothing
	}
	var names []string
	for _, c := range fits {
		names = append(names, c.name)
	}
	marks := w.marksOf(mem)
	key := strings.Join(names, "\x00")
	if len(names) == 0 {
		key = "\x01" + strings.Join(marks, "\x00")
	}
	t := w.found[key]
	if t == nil {
		t = &kindTally{kind: ObjectKind{Types: names, Marks: marks, Samples: []kernel.Addr{}}, cands: fits}
		if len(fits) > 0 {
			t.members(fits[0].typ)
		}
		w.found[key] = t
	}
	t.kind.Count++
	if len(t.kind.Samples) < kindSamples {
		t.kind.Samples = append(t.kind.Samples, kernel.Addr(addr))
	}
	t.kind.Marks = slices.DeleteFunc(t.kind.Marks, func(m string) bool { return !slices.Contains(marks, m) })
	for i := range t.counts {
		if c := &t.counts[i]; c.off+4 <= len(mem) && len(c.values) < 1<<12 {
			c.values[int32(binary.LittleEndian.Uint32(mem[c.off:]))]++
		}
	}
	for i := range t.lists {
		l := &t.lists[i]
		if l.off+16 > len(mem) {
			continue
		}
		first, second := binary.LittleEndian.Uint64(mem[l.off:]), binary.LittleEndian.Uint64(mem[l.off+8:])
		node := addr + uint64(l.off)
		if kernelAddress(second) && first != node && second != node && !errorPointer(second) {
			l.linked++
		}
	}
}

// members finds the reference counts and lists of a type.
func (t *kindTally) members(typ *ctype.Type) {
	for _, p := range compile(typ) {
		if p.kind == probeList || p.kind == probeHlist {
			t.lists = append(t.lists, listTally{path: p.path, off: p.off})
		}
	}
	addCounts(&t.counts, typ.Strip(), 0, "", 0)
}

func addCounts(list *[]countTally, t *ctype.Type, base int64, path string, depth int) {
	if depth > maxProbeDepth || t.Kind != ctype.Struct {
		return
	}
	for _, m := range t.Members() {
		name := strings.TrimPrefix(path+"."+m.Name, ".")
		if s := m.Type.Strip(); isCount(m.Name) && m.Type.Size() == 4 && len(*list) < 8 {
			*list = append(*list, countTally{path: name, off: int(base + m.Offset), values: make(map[int32]uint64)})
		} else {
			addCounts(list, s, base+m.Offset, name, depth+1)
		}
	}
}

// isCount tells whether a member is a reference count, by its name.
func isCount(name string) bool {
	name = strings.Trim(name, "_")
	return name == "count" || name == "usage" || name == "users" || strings.HasSuffix(name, "refcnt") ||
		strings.HasSuffix(name, "ref") || strings.HasSuffix(name, "refs") || strings.HasSuffix(name, "refcount")
}

func (w *kinds) finish() {
	for _, t := range w.found {
		k := &t.kind
		k.Share = float64(k.Count) / float64(max(1, w.r.Examined))
		for _, c := range t.counts {
			value, most := int32(0), uint64(0)
			for v, n := range c.values {
				if n > most || n == most && v < value {
					value, most = v, n
				}
			}
			k.Counts = append(k.Counts, CountMember{c.path, int64(value), float64(most) / float64(k.Count)})
		}
		for _, l := range t.lists {
			k.Lists = append(k.Lists, ListMember{l.path, float64(l.linked) / float64(k.Count)})
		}
		w.r.Kinds = append(w.r.Kinds, *k)
	}
	slices.SortFunc(w.r.Kinds, func(a, b ObjectKind) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), slices.Compare(a.Types, b.Types), slices.Compare(a.Marks, b.Marks))
	})
	if len(w.r.Kinds) > maxKinds {
		rest := ObjectKind{Marks: []string{fmt.Sprintf("%d other kinds", len(w.r.Kinds)-maxKinds+1)}}
		for _, k := range w.r.Kinds[maxKinds-1:] {
			rest.Count += k.Count
			rest.Samples = k.Samples
		}
		rest.Share = float64(rest.Count) / float64(max(1, w.r.Examined))
		w.r.Kinds = append(w.r.Kinds[:maxKinds-1], rest)
	}
}

// maxKinds bounds how many kinds are told apart in the result.
const maxKinds = 40

// mark is a value that many objects have at one place.
type mark struct {
	off   int
	value uint64
	text  string
}

// maxMarks bounds the marks of a cache.
const maxMarks = 64

// findMarks finds values that at least one in 300 objects of the sample has at one
// place, and that mean something: addresses of symbols, and large numbers.
func (w *kinds) findMarks(sample []sampled) {
	for off := 0; off+8 <= w.c.ObjectSize && off < 1<<12 && len(w.marks) < maxMarks; off += 8 {
		seen := make(map[uint64]int)
		for _, o := range sample {
			if v := binary.LittleEndian.Uint64(o.mem[off:]); v>>32 != 0 && v != ^uint64(0) {
				seen[v]++
			}
		}
		for v, n := range seen {
			if n*300 < len(sample) || n < 3 {
				continue
			}
			if text, ok := w.meaning(v); ok {
				w.marks = append(w.marks, mark{off, v, fmt.Sprintf("+%#x %s", off, text)})
			}
		}
	}
	slices.SortFunc(w.marks, func(a, b mark) int { return cmp.Or(cmp.Compare(a.off, b.off), cmp.Compare(a.value, b.value)) })
	w.marks = w.marks[:min(len(w.marks), maxMarks)]
}

func (w *kinds) meaning(v uint64) (string, bool) {
	if name, ok := w.j.k.LookupName(v); ok {
		return "→ " + name, true
	}
	if kernelAddress(v) || bits.OnesCount64(v) < 12 {
		return "", false
	}
	for rest := v; rest != 0; rest >>= 8 {
		if rest&0xff == 0 {
			return "", false // some small numbers side by side
		}
	}
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], v)
	for _, b := range raw {
		if b < 0x20 || b > 0x7e {
			return fmt.Sprintf("= %#x", v), true
		}
	}
	return fmt.Sprintf("= %#x %q", v, raw[:]), true
}

func (w *kinds) marksOf(mem []byte) []string {
	var list []string
	for _, m := range w.marks {
		if m.off+8 <= len(mem) && binary.LittleEndian.Uint64(mem[m.off:]) == m.value {
			list = append(list, m.text)
		}
	}
	return list
}
