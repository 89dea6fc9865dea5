package slab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/page"
	"github.com/kmortem/mortem/kernel/slab"
)

// Open finds the kernel's slab allocator. Errors are those of page.Open and
// slab.Open.
func Open(k *kernel.Kernel) (*slab.Allocations, error) {
	pages, err := page.Open(k)
	if err != nil {
		return nil, err
	}
	return slab.Open(k, pages)
}

// sorts are the orders of the list, the largest first but for names.
var sorts = []struct {
	name string
	less func(a, b *Cache) int
}{
	{"memory", func(a, b *Cache) int { return cmp.Compare(b.Bytes, a.Bytes) }},
	{"live", func(a, b *Cache) int { return cmp.Compare(b.Live, a.Live) }},
	{"objects", func(a, b *Cache) int { return cmp.Compare(b.Objects, a.Objects) }},
	{"free", func(a, b *Cache) int { return cmp.Compare(b.unused(), a.unused()) }},
	{"slabs", func(a, b *Cache) int { return cmp.Compare(b.Slabs, a.Slabs) }},
	{"size", func(a, b *Cache) int { return cmp.Compare(b.Size, a.Size) }},
	{"name", func(a, b *Cache) int { return cmp.Compare(a.Name, b.Name) }},
}

// unused is the memory of objects that are not in use, in bytes.
func (c *Cache) unused() uint64 { return (c.Objects - min(c.Live, c.Objects)) * uint64(c.Size) }

// Sorts are the names of the orders that Options.Sort takes.
func Sorts() []string {
	var names []string
	for _, s := range sorts {
		names = append(names, s.name)
	}
	return names
}

// Analyze counts the objects of all caches by what the struct pages say. The error
// wraps slab.ErrNoCache for a cache of the options that is not there.
func Analyze(ctx context.Context, s *slab.Allocations, opt Options) (*Report, error) {
	r := &Report{Allocator: string(s.Kind()), Caches: []Cache{}, CachesAll: len(s.Caches()), Verified: opt.Verify,
		Coverage: s.Kernel().NewCoverage()}
	if err := s.Broken(); err != nil {
		r.Coverage.Fail(err)
	}
	aliases := readAliases(s, &r.Coverage)
	chosen, err := choose(s, aliases, opt.Caches)
	if err != nil {
		return nil, err
	}
	tallies, err := r.sweep(ctx, s, opt)
	if err != nil {
		return nil, err
	}
	refs := newReferences(s, chosen)
	refs.scanData()
	if opt.References {
		if err := refs.scanObjects(ctx, &r.Coverage); err != nil {
			return nil, err
		}
	}
	r.Memory = memory(s)
	var all []Cache
	for _, c := range s.Caches() {
		out := r.describe(c, tallies[c], opt.Verify)
		out.Aliases = aliases[c.Addr]
		out.References = refs.of(c)
		r.Live, r.Objects, r.Slabs = r.Live+out.Live, r.Objects+out.Objects, r.Slabs+out.Slabs
		r.Pages, r.Bytes = r.Pages+out.Pages, r.Bytes+out.Bytes
		if all = append(all, out); chosen[c.Addr] {
			r.Caches = append(r.Caches, out)
		}
	}
	r.judge(all)
	r.order(opt)
	return r, nil
}

func (r *Report) order(opt Options) {
	less := sorts[0].less
	for _, s := range sorts {
		if s.name == opt.Sort {
			less = s.less
		}
	}
	slices.SortStableFunc(r.Caches, func(a, b Cache) int { return cmp.Or(less(&a, &b), cmp.Compare(a.Name, b.Name)) })
	if opt.Top > 0 && len(r.Caches) > opt.Top {
		r.Caches = r.Caches[:opt.Top]
	}
}

// choose is which caches are listed.
func choose(s *slab.Allocations, aliases map[uint64][]string, names []string) (map[uint64]bool, error) {
	chosen := make(map[uint64]bool)
	for _, name := range names {
		c, err := find(s, aliases, name)
		if err != nil {
			return nil, err
		}
		chosen[c.Addr] = true
	}
	for _, c := range s.Caches() {
		if len(names) == 0 {
			chosen[c.Addr] = true
		}
	}
	return chosen, nil
}

// Find is the cache of a name, an alias or an address of its struct kmem_cache. The
// error wraps slab.ErrNoCache.
func Find(s *slab.Allocations, name string) (*slab.Cache, error) {
	var cover kernel.Coverage
	return find(s, readAliases(s, &cover), name)
}

func find(s *slab.Allocations, aliases map[uint64][]string, name string) (*slab.Cache, error) {
	c, err := s.ByName(name)
	if err == nil {
		return c, nil
	}
	if addr, convErr := strconv.ParseUint(strings.TrimPrefix(name, "0x"), 16, 64); convErr == nil {
		if c, err := s.ByAddr(addr); err == nil {
			return c, nil
		}
	}
	for addr, list := range aliases {
		if slices.Contains(list, name) {
			return s.ByAddr(addr)
		}
	}
	return nil, err
}

// tally is what is counted of one cache.
type tally struct {
	slabs, pages, objects, inUse, live, damaged uint64
	nodes                                       []Node // by number
}

// chunk is how many page frames a goroutine takes at a time.
const chunk = 1 << 16

// sweep goes over all struct pages.
func (r *Report) sweep(ctx context.Context, s *slab.Allocations, opt Options) (map[*slab.Cache]*tally, error) {
	w := &sweeper{s: s, opt: opt, total: make(map[*slab.Cache]*tally)}
	for _, span := range s.Pages().Spans() {
		for at := span.First; at < span.End; at += chunk {
			w.jobs = append(w.jobs, page.Span{First: at, End: min(at+chunk, span.End)})
		}
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(w.jobs)) {
		wg.Go(func() { w.run(ctx) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.Coverage.Add(kernel.JoinCoverage(w.covers))
	r.Orphans = w.orphans
	return w.total, nil
}

type sweeper struct {
	s    *slab.Allocations
	opt  Options
	jobs []page.Span
	next atomic.Int64

	mu      sync.Mutex // of what is below
	total   map[*slab.Cache]*tally
	covers  []*kernel.PartCoverage
	orphans uint64
}

// run takes jobs until none is left, and adds what it counted to the rest.
func (w *sweeper) run(ctx context.Context) {
	p := part{s: w.s, verify: w.opt.Verify, d: w.s.NewDecoder(), found: make(map[*slab.Cache]*tally)}
	for ctx.Err() == nil {
		i := int(w.next.Add(1)) - 1
		if i >= len(w.jobs) {
			break
		}
		p.count(ctx, w.jobs[i])
		p.cover.At(uint64(i))
		if w.opt.Progress != nil {
			w.opt.Progress(uint64(i), uint64(len(w.jobs)))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.covers = append(w.covers, &p.cover)
	w.orphans += p.orphans
	for c, t := range p.found {
		all := w.total[c]
		if all == nil {
			w.total[c] = t
			continue
		}
		all.add(t)
	}
}

func (t *tally) add(o *tally) {
	t.slabs, t.pages, t.objects = t.slabs+o.slabs, t.pages+o.pages, t.objects+o.objects
	t.inUse, t.live, t.damaged = t.inUse+o.inUse, t.live+o.live, t.damaged+o.damaged
	for n := range o.nodes {
		to := t.node(n)
		to.Slabs, to.Objects = to.Slabs+o.nodes[n].Slabs, to.Objects+o.nodes[n].Objects
		to.InUse, to.Partial = to.InUse+o.nodes[n].InUse, to.Partial+o.nodes[n].Partial
	}
}

func (t *tally) node(n int) *Node {
	for len(t.nodes) <= n {
		t.nodes = append(t.nodes, Node{Node: len(t.nodes)})
	}
	return &t.nodes[n]
}

// part is what one goroutine counts.
type part struct {
	s       *slab.Allocations
	verify  bool
	d       *slab.Decoder
	found   map[*slab.Cache]*tally
	last    *tally
	lastOf  *slab.Cache
	cover   kernel.PartCoverage
	orphans uint64
	mem     []byte
}

func (p *part) count(ctx context.Context, job page.Span) {
	n := 0
	for sl, err := range p.s.Walk(job.First, job.End) {
		if n++; n&0xfff == 0 && ctx.Err() != nil {
			return
		}
		if err != nil {
			if errors.Is(err, slab.ErrUnknownCache) {
				p.orphans++
			}
			p.cover.Fail(err)
			if sl.Cache != nil {
				p.of(sl.Cache).damaged++
			}
			continue
		}
		t := p.of(sl.Cache)
		t.slabs++
		t.pages += 1 << sl.Order
		t.objects += uint64(sl.Objects)
		t.inUse += uint64(sl.InUse)
		if sl.Node >= 0 {
			on := t.node(sl.Node)
			on.Slabs++
			on.Objects += uint64(sl.Objects)
			on.InUse += uint64(sl.InUse)
			if sl.InUse < sl.Objects {
				on.Partial++
			}
		}
		if !p.verify {
			p.cover.Read++
			continue
		}
		p.follow(&sl, t)
	}
}

func (p *part) of(c *slab.Cache) *tally {
	if p.lastOf != c {
		if p.last = p.found[c]; p.last == nil {
			p.last = new(tally)
			p.found[c] = p.last
		}
		p.lastOf = c
	}
	return p.last
}

// follow follows the list of free objects of a slab.
func (p *part) follow(sl *slab.Slab, t *tally) {
	if cap(p.mem) < sl.Bytes() {
		p.mem = make([]byte, sl.Bytes())
	}
	mem := p.mem[:sl.Bytes()]
	n, err := p.s.Kernel().Read(mem, sl.Start)
	if loadErr := p.d.Load(sl, mem[:n]); err == nil {
		err = loadErr
	} else {
		err = fmt.Errorf("slab at %#x of cache %s: %w", sl.Start, sl.Cache.Name, err)
	}
	t.live += uint64(p.d.Live(sl))
	if err != nil {
		t.damaged++
		p.cover.Fail(err)
		return
	}
	p.cover.Read++
}

// describe makes the result of a cache out of what was counted.
func (r *Report) describe(c *slab.Cache, t *tally, verified bool) Cache {
	if t == nil {
		t = new(tally)
	}
	out := Cache{Addr: kernel.Addr(c.Addr), Name: c.Name, Users: c.Refcount, ObjectSize: c.ObjectSize, Size: c.Size,
		PerSlab: c.PerSlab, Order: c.Order, Flags: c.FlagNames(), Slabs: t.slabs, Pages: t.pages,
		Objects: t.objects, Damaged: t.damaged, Nodes: t.nodes}
	k := c.Allocator().Kernel()
	out.Bytes = t.pages * k.PageSize()
	if c.Ctor != 0 {
		out.Ctor = k.SymbolName(c.Ctor)
	}
	held := c.Held()
	for _, err := range held.Errors {
		r.Coverage.Fail(err)
	}
	out.Kept = uint64(held.FreeOutside())
	for i := range held.CPUs {
		cpu := &held.CPUs[i]
		free, err := c.ActiveFree(cpu)
		if err != nil {
			r.Coverage.Fail(fmt.Errorf("cache %s: the free objects of CPU %d: %w", c.Name, cpu.CPU, err))
		}
		out.Kept += uint64(free)
		if cpu.Slab != 0 || cpu.Free != 0 || cpu.Partial != 0 {
			out.CPUs = append(out.CPUs, CPU{CPU: cpu.CPU, Slab: kernel.Addr(cpu.Slab), Free: uint64(free + cpu.Free), Partial: cpu.Partial})
		}
	}
	if out.Live = t.live; !verified {
		out.Live = t.inUse - min(out.Kept, t.inUse)
	}
	return out
}
