package census

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/kmortem/mortem/dump"
	"github.com/kmortem/mortem/kernel"
	"github.com/kmortem/mortem/kernel/sweep"
	"github.com/kmortem/mortem/kernel/vfs"
)

// Options choose what is counted, and how much of it is shown. The zero value means
// the defaults.
type Options struct {
	Dir     uint64 // only the children of the dentry at this address
	Super   uint64 // only of the super_block at this address
	Pattern string // only names of this pattern, or that fit this shell pattern

	Top     int // directories and patterns to show; 0 means 20, negative all
	Held    int // objects that are deleted and held to show; 0 means 1,000, negative all (up to 65,536)
	Walk    int // walk LRU lists of up to so many dentries in all; 0 means a million, negative none
	Workers int // goroutines; 0 means one a processor
	// Room is how many directories, and patterns, are counted exactly; 0 means
	// 262,144 divided by the workers.
	Room   int
	Chains bool // go by the hash chains and not by the slabs

	// Progress, if set, is told from several goroutines how much of the memory, or of
	// the hash table, is done.
	Progress func(done, total uint64)
}

const (
	maxRoom   = 1 << 18
	maxLong   = 1 << 20 // names that lie apart from their dentry are read up to here
	maxTable  = 1 << 25 // buckets whose lengths are counted
	maxShown  = 1 << 16
	smallRoom = 1 << 8
)

func (o *Options) setDefaults() {
	set := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	set(&o.Top, 20)
	set(&o.Held, 1000)
	set(&o.Walk, 1_000_000)
	set(&o.Workers, runtime.GOMAXPROCS(0))
	set(&o.Room, max(smallRoom, maxRoom/o.Workers))
	if o.Top < 0 {
		o.Top = math.MaxInt
	}
	if o.Held < 0 || o.Held > maxShown {
		o.Held = maxShown
	}
}

// Dentries counts all dentries by state, file system, directory and pattern of name,
// in one sweep over the slabs that hold them. Where these cannot be found it walks
// the hash chains, which have not all of them, and says so. The error is that of a
// kernel that cannot be read at all, or of ctx; all else is part of the report's
// coverage.
func Dentries(ctx context.Context, fs *vfs.FS, opt Options) (*DentryReport, error) {
	opt.setDefaults()
	r := &DentryReport{Source: SourceSlabs, Coverage: fs.Kernel().NewCoverage()}
	supers := listSupers(fs, &r.Coverage)
	s := newShared(fs, supers, opt, &r.Coverage)
	var total *tally
	var err error
	if opt.Chains {
		err = errors.New("they were not asked for")
	} else {
		total, err = bySlabs(ctx, s, supers, opt, r)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		r.Source, r.WhyChains, r.WhyNotCharged = SourceChains, err.Error(), "hash chains do not say it"
		if total, err = byChains(ctx, s, opt, r); err != nil {
			return nil, err
		}
	}
	d := describer{fs: fs, opt: opt, r: r, total: total, supers: supers, mounts: fs.Mounts()}
	if err := d.describe(ctx); err != nil {
		return nil, err
	}
	r.Filter = s.filter.String()
	r.Findings = dentryFindings(r)
	return r, nil
}

// listSupers are the super_blocks in the kernel's list, by address and in its order.
type superList struct {
	all    []*vfs.SuperBlock
	byAddr map[uint64]*vfs.SuperBlock
}

func listSupers(fs *vfs.FS, cover *kernel.Coverage) superList {
	l := superList{byAddr: make(map[uint64]*vfs.SuperBlock)}
	for sb, err := range fs.SuperBlocks() {
		if err != nil {
			cover.Fail(err)
		}
		if sb != nil {
			l.all = append(l.all, sb)
			l.byAddr[sb.Addr] = sb
		}
	}
	return l
}

func newShared(fs *vfs.FS, supers superList, opt Options, cover *kernel.Coverage) *shared {
	s := &shared{fs: fs, known: supers.byAddr, seed: maphash.MakeSeed(), room: opt.Room, held: opt.Held,
		filter: filter{dir: opt.Dir, super: opt.Super, pattern: opt.Pattern}}
	s.long.Store(maxLong)
	if !s.filter.any() {
		return s
	}
	table, err := fs.HashTable()
	if err != nil {
		cover.Fail(err)
	} else if table.Buckets <= maxTable {
		s.table, s.chains = table, make([]atomic.Uint32, table.Buckets)
	}
	return s
}

// bySlabs counts in a sweep over the slabs.
func bySlabs(ctx context.Context, s *shared, supers superList, opt Options, r *DentryReport) (*tally, error) {
	slabs, caches, err := dentryCaches(s.fs, supers)
	if err != nil {
		return nil, err
	}
	s.size = uint64(caches[0].Size)
	tallies := make([]*tally, opt.Workers)
	for i := range tallies {
		tallies[i] = newTally(s)
	}
	charges, err := newChargeTallies(slabs, opt.Workers)
	if err != nil {
		r.WhyNotCharged = err.Error()
	}
	span, filtered := s.fs.DentrySpan(), !s.filter.any()
	consumer := sweep.Consumer{Caches: caches, Visit: func(worker int, sl *sweep.Slab) error {
		t, by := tallies[worker], &charges[worker]
		by.slab(sl)
		for i := range sl.Objects {
			if !sl.Live(i) {
				continue
			}
			if b := sl.Bytes(i); len(b) >= span {
				s.fs.DecodeDentry(&t.d, sl.Object(i), b)
				if t.add(&t.d, sl.Doubt != nil) {
					by.count(i, s.size, filtered && s.fs.OnLRU(&t.d))
				}
			}
		}
		return nil
	}}
	result, err := sweep.Run(ctx, slabs, []sweep.Consumer{consumer}, sweep.Options{Workers: opt.Workers, Progress: opt.Progress})
	if err != nil {
		return nil, err
	}
	r.Coverage.Add(result.Coverage)
	r.Caches = cacheReport(result)
	if r.WhyNotCharged == "" {
		s.charged = mergeCharges(s.fs.Kernel(), charges, &r.Coverage)
		r.UnknownCharged = s.charged.unknown
	}
	for _, t := range tallies[1:] {
		tallies[0].merge(t)
	}
	return tallies[0], nil
}

// parts is how many parts the hash table is divided into.
const parts = 64

// byChains counts in a walk over the hash chains.
func byChains(ctx context.Context, s *shared, opt Options, r *DentryReport) (*tally, error) {
	table, err := s.fs.HashTable()
	if err != nil {
		return nil, err
	}
	if t, err := s.fs.Kernel().Type("struct dentry"); err == nil {
		s.size = uint64(t.Size())
	}
	tallies := make([]*tally, opt.Workers)
	covers := make([]*kernel.PartCoverage, opt.Workers)
	size := (table.Buckets + parts - 1) / parts
	var next, finished atomic.Int64
	var group sync.WaitGroup
	for w := range tallies {
		tallies[w], covers[w] = newTally(s), new(kernel.PartCoverage)
		group.Go(func() {
			for ctx.Err() == nil {
				i := uint64(next.Add(1) - 1)
				if i >= parts {
					return
				}
				if err := dump.Guard(func() error {
					tallies[w].walk(ctx, table, min(i*size, table.Buckets), min((i+1)*size, table.Buckets), &covers[w].Coverage)
					return nil
				}); err != nil {
					covers[w].Fail(err)
				}
				covers[w].At(i)
				if n := finished.Add(1); opt.Progress != nil {
					opt.Progress(uint64(n), parts)
				}
			}
		})
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.Coverage.Add(kernel.JoinCoverage(covers))
	for _, t := range tallies[1:] {
		tallies[0].merge(t)
	}
	return tallies[0], nil
}

func (t *tally) walk(ctx context.Context, table *vfs.HashTable, from, to uint64, cover *kernel.Coverage) {
	n := 0
	for e, err := range table.Entries(from, to) {
		if err != nil {
			cover.Fail(err)
			continue
		}
		cover.Read++
		t.add(e.Dentry, false)
		if n++; n&0xffff == 0 && ctx.Err() != nil {
			return
		}
	}
}

func cacheReport(result *sweep.Result) []Cache {
	var list []Cache
	for _, c := range result.Caches {
		list = append(list, Cache{
			Name: c.Cache.Name, Addr: kernel.Addr(c.Cache.Addr), Size: c.Cache.Size, Slabs: c.Slabs, Objects: c.Objects,
			Live: c.Live, Bytes: c.Pages * c.Cache.Allocator().Kernel().PageSize(), Unread: c.Unread, Damaged: c.Damaged,
		})
	}
	return list
}

// errNoDentry: no super_block leads to a dentry, so that their cache is not known.
var errNoDentry = fmt.Errorf("no super_block's root lies in a slab")
